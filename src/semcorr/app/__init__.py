"""The page for the browser: click points on one image, find them in others, and see why.

Only ``page`` and ``server`` know Gradio; the other modules are plain functions and classes.
"""
