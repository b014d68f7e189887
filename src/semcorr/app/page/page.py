"""The page: three tabs, its look, and what all tabs share."""

import importlib.resources
from collections.abc import Callable
from typing import Any

import gradio as gr

from semcorr.app.page import inspect_tab, match_tab, words_tab
from semcorr.app.state import AppState

_HEAD = """<div class="sc-head"><h1>semcorr</h1>
<span>Click a point in one picture and see where it is in others, and why. {model}</span></div>"""


def build(state: AppState) -> gr.Blocks:
    """The page, with everything wired."""
    model = state.matchers.choice.model
    told = "The bundled model knows drawings of its toy world only." if model.startswith("toy") else ""
    with gr.Blocks(title="semcorr", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_HEAD.format(model=told), padding=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Match", id="match"):
                match_tab.build(state)
            with gr.Tab("Words", id="words"):
                words_tab.build(state)
            with gr.Tab("Inspect", id="inspect"):
                inspect_tab.build(state)
        page.unload(_closed(state))
    return page


def appearance() -> dict[str, Any]:
    """Theme and style: the system's own fonts, nothing from elsewhere."""
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="gray",
        spacing_size="sm",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    return {
        "theme": theme,
        "css": importlib.resources.files("semcorr.app.page").joinpath("page.css").read_text("utf-8"),
    }


def _closed(state: AppState) -> Callable[[gr.Request], None]:
    def closed(request: gr.Request) -> None:
        state.sessions.drop(request.session_hash)

    return closed
