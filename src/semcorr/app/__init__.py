"""A page for the browser: click points on one image, see them found in others, and why.

What the page does is in pure functions, which know nothing of Gradio; only ``page*`` and ``serve`` import it.
"""
