"""``semcorr toy``: draw the toy world and train the bundled model on it."""

from cyclopts import App

toy_app = App(name="toy", help="Draw the toy world, and train the bundled model on it.")
