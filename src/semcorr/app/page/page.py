"""The page: its three tabs, theme and style."""

import html
import importlib.resources
from typing import Any

import gradio as gr

from semcorr.app.matchers import LoadedMatchers, images_of, model_of
from semcorr.app.page import inspect_tab, match_tab, words_tab
from semcorr.app.state import AppState

_HEAD = """<div class="sc-head"><h1>semcorr</h1>
<span>Click a point in one image and see where it is in others, and why. {models}</span></div>"""


def build(state: AppState) -> gr.Blocks:
    """Build the page, with every component wired to its function."""
    matchers = state.matchers
    with gr.Blocks(title="semcorr", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_HEAD.format(models=html.escape(_models(matchers))), padding=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Match", id="match"):
                match_tab.build(state)
            with gr.Tab("Words", id="words"):
                words_tab.build(state)
            with gr.Tab("Inspect", id="inspect"):
                inspect_tab.build(state)

        def close(request: gr.Request) -> None:
            state.sessions.drop(request.session_hash)

        page.unload(close)
    return page


def _models(matchers: LoadedMatchers) -> str:
    """The models of the page, and the images that they are for."""
    own, examples = matchers.spec, matchers.examples
    if own == examples:
        return f"Its model, {model_of(own)}, is for {images_of(own)}."
    return f"Your images are matched on {model_of(own)}, for {images_of(own)}; the examples on {model_of(examples)}."


def appearance() -> dict[str, Any]:
    """Theme and style, as arguments of ``launch``: the system's own fonts, nothing from another server."""
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="gray",
        spacing_size="sm",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    css = importlib.resources.files("semcorr.app.page").joinpath("page.css").read_text("utf-8")
    return {"theme": theme, "css": css}
