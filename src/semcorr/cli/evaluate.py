"""``semcorr eval``: measure a method on pairs whose truth is known."""

from cyclopts import App

evaluate_app = App(name="eval", help="Measure a method on pairs whose truth is known.")
