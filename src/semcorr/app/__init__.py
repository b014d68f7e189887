"""The page for the browser: click points on one image, find them in others, and see why.

Only ``server``, ``state``, ``view`` and the modules of routes know HTTP; the others are plain functions and classes.
"""
