"""The layout of the tab *Match*."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from semcorr.app.page import examples, html, viewer, widgets
from semcorr.app.server.served_files import SessionFiles
from semcorr.app.state import AppState
from semcorr.app.workspace import Workspace

WELCOME = "New here? Upload a source and a target and click a point, or press an example on the left; then press Find."


@dataclass(frozen=True, kw_only=True)
class MatchWidgets(widgets.JobWidgets):
    """The tab's components."""

    keeper: gr.HTML
    source: gr.HTML
    targets: gr.HTML
    source_upload: gr.UploadButton
    targets_upload: gr.UploadButton
    remove: gr.Button
    undo: gr.Button
    redo: gr.Button
    delete: gr.Button
    clear: gr.Button
    names: gr.Textbox
    method: gr.Dropdown
    preset: gr.Dropdown
    model: gr.HTML
    point: gr.Dropdown
    layer: gr.Dropdown
    legend: gr.HTML
    accept: gr.Button
    discard: gr.Button
    export: gr.Button
    files: gr.HTML
    table: gr.HTML
    examples: dict[str, gr.Button]

    @property
    def outputs(self) -> list[Any]:
        """The components that handlers update."""
        return [
            *(self.source, self.targets, self.names, self.preset, self.start, self.cancel, self.status, self.point),
            *(self.layer, self.legend, self.accept, self.discard, self.export, self.files, self.table),
            *(self.undo, self.redo, self.method, self.model, self.keeper),
        ]


def lay_out(state: AppState) -> MatchWidgets:
    """Create the tab's components."""
    keeper = widgets.keeper()
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=380):
            source = _source(state)
        with gr.Column(scale=8, min_width=420):
            targets = {**_targets(state), **_find(state), **_results()}
    with gr.Accordion("All matches in numbers", open=False):
        table = gr.HTML("", elem_id="table", padding=False)
    return MatchWidgets(keeper=keeper, **source, **targets, table=table)


def _button(label: str, elem_id: str, min_width: int, **options: Any) -> gr.Button:
    return gr.Button(label, size=options.pop("size", "sm"), elem_id=elem_id, min_width=min_width, **options)


def _source(state: AppState) -> dict[str, Any]:
    made: dict[str, Any] = {}
    gr.HTML(html.step(1, "Source", "your image, or one of the four examples"), padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["source_upload"] = gr.UploadButton(
            "Upload source",
            file_types=widgets.IMAGE_TYPES,
            size="sm",
            variant="primary",
            elem_id="source-upload",
            min_width=110,
        )
        made["examples"] = {name: _button(name, f"example-{name}", 42) for name in examples.CATEGORIES}
    with gr.Row(elem_classes="sc-line"):
        made["undo"] = _button("Undo", "undo", 60, interactive=False)
        made["redo"] = _button("Redo", "redo", 60, interactive=False)
        made["delete"] = _button("Delete point", "delete", 90)
        made["clear"] = _button("Clear points", "clear", 90)
    made["source"] = widgets.viewer("source", viewer.source_view(SessionFiles(state.files), Workspace()))
    made["names"] = gr.Textbox(
        label="Names of the points, in their order (optional)",
        placeholder="nose, left ear, tail",
        elem_id="names",
        max_lines=1,
    )
    return made


def _targets(state: AppState) -> dict[str, Any]:
    made: dict[str, Any] = {}
    gr.HTML(html.step(2, "Targets", "the images to find them in"), padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["targets_upload"] = gr.UploadButton(
            "Upload targets",
            file_types=widgets.IMAGE_TYPES,
            file_count="multiple",
            size="sm",
            variant="primary",
            elem_id="targets-upload",
            min_width=120,
            scale=0,
        )
        made["remove"] = _button("Remove targets", "remove", 120, scale=0)
    made["targets"] = widgets.viewer("targets", viewer.targets_view(SessionFiles(state.files), Workspace()))
    return made


def _find(state: AppState) -> dict[str, Any]:
    made: dict[str, Any] = {}
    matchers, spec = state.matchers, state.matchers.spec
    made["model"] = gr.HTML(html.find_step(spec), elem_id="model", padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["method"] = gr.Dropdown(
            matchers.methods(), value=spec.method, label="Method", elem_id="method", min_width=150
        )
        made["preset"] = gr.Dropdown(
            matchers.presets(spec.method), value=spec.preset, label="Preset", elem_id="preset", min_width=120
        )
        made["start"] = _button("Find", "find", 110, size="md", variant="primary")
        made["cancel"] = _button("Cancel", "cancel", 80, size="md", variant="stop", interactive=False)
    made["status"] = gr.HTML(html.note(WELCOME), elem_id="status", padding=False)
    return made


def _results() -> dict[str, Any]:
    made: dict[str, Any] = {}
    hint = "click a match, then its true location; or drag it"
    gr.HTML(html.step(4, "Check, correct, export", hint), padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["point"] = gr.Dropdown(
            [widgets.ALL_POINTS], value=widgets.ALL_POINTS, label="Point", elem_id="point", min_width=130
        )
        made["layer"] = gr.Dropdown([viewer.FUSED], value=viewer.FUSED, label="Layer", elem_id="layer", min_width=170)
        widgets.opacity()
    made["legend"] = gr.HTML("", elem_id="legend", padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["export"] = _button("Export: COCO, CSV, PNG, query", "export", 220, interactive=False, scale=0)
        made["accept"] = _button("Accept matches", "accept", 120, interactive=False, scale=0)
        made["discard"] = _button("Discard corrections", "discard", 140, interactive=False, scale=0)
    made["files"] = gr.HTML("", elem_id="files", padding=False)
    return made
