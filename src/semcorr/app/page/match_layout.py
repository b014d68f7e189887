"""How the tab *Match* is laid out."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from semcorr.app.page import examples, html, viewer, widgets
from semcorr.app.server.served_files import SessionFiles
from semcorr.app.state import AppState
from semcorr.app.workspace import Workspace

WELCOME = "New here? Press an example on the left, then Find."


@dataclass(frozen=True, kw_only=True)
class MatchWidgets:
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
    find: gr.Button
    cancel: gr.Button
    status: gr.HTML
    point: gr.Dropdown
    layer: gr.Dropdown
    legend: gr.HTML
    accept: gr.Button
    reset: gr.Button
    export: gr.Button
    files: gr.HTML
    table: gr.HTML
    examples: dict[str, gr.Button]

    @property
    def outputs(self) -> list[Any]:
        """All that any function changes."""
        return [
            *(self.source, self.targets, self.names, self.preset, self.find, self.cancel, self.status, self.point),
            *(self.layer, self.legend, self.accept, self.reset, self.export, self.files, self.table),
            *(self.undo, self.redo, self.method, self.keeper),
        ]


def lay_out(state: AppState) -> MatchWidgets:
    """Make the tab's components, where they belong."""
    keeper = widgets.keeper()
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=380):
            source = _source(state)
        with gr.Column(scale=8, min_width=420):
            targets = {**_targets(state), **_find(state), **_results()}
    with gr.Accordion("All matches in numbers", open=False):
        table = gr.HTML("", elem_id="table", padding=False)
    return MatchWidgets(keeper=keeper, **source, **targets, table=table)


def _source(state: AppState) -> dict[str, Any]:
    made: dict[str, Any] = {}
    gr.HTML(html.step(1, "Source", "your picture, or one of the four examples"), padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["source_upload"] = gr.UploadButton(
            "Upload source",
            file_types=widgets.IMAGE_TYPES,
            size="sm",
            variant="primary",
            elem_id="source-upload",
            min_width=110,
        )
        made["examples"] = {
            name: gr.Button(name, size="sm", elem_id=f"example-{name}", min_width=42) for name in examples.CATEGORIES
        }
    with gr.Row(elem_classes="sc-line"):
        made["undo"] = gr.Button("Undo", size="sm", elem_id="undo", interactive=False, min_width=60)
        made["redo"] = gr.Button("Redo", size="sm", elem_id="redo", interactive=False, min_width=60)
        made["delete"] = gr.Button("Delete point", size="sm", elem_id="delete", min_width=90)
        made["clear"] = gr.Button("Clear points", size="sm", elem_id="clear", min_width=90)
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
    gr.HTML(html.step(2, "Targets", "the pictures to find them in"), padding=False)
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
        made["remove"] = gr.Button("Remove targets", size="sm", elem_id="remove", min_width=120, scale=0)
    made["targets"] = widgets.viewer("targets", viewer.targets_view(SessionFiles(state.files), Workspace()))
    return made


def _find(state: AppState) -> dict[str, Any]:
    made: dict[str, Any] = {}
    gr.HTML(html.step(3, "Find", "learn the points, then look for them in every target"), padding=False)
    choice = state.matchers.choice
    presets = state.matchers.presets(choice.method)
    usual = choice.preset or next(iter(presets), None)
    with gr.Row(elem_classes="sc-line"):
        made["method"] = gr.Dropdown(
            state.matchers.methods(), value=choice.method, label="Method", elem_id="method", min_width=150
        )
        made["preset"] = gr.Dropdown(presets, value=usual, label="Preset", elem_id="preset", min_width=120)
        made["find"] = gr.Button("Find", variant="primary", size="md", elem_id="find", min_width=110)
        made["cancel"] = gr.Button(
            "Cancel", variant="stop", size="md", elem_id="cancel", interactive=False, min_width=80
        )
    made["status"] = gr.HTML(html.note(WELCOME), elem_id="status", padding=False)
    return made


def _results() -> dict[str, Any]:
    made: dict[str, Any] = {}
    gr.HTML(
        html.step(4, "Look, put right, take home", "click a match, then its right place; or drag it"), padding=False
    )
    with gr.Row(elem_classes="sc-line"):
        made["point"] = gr.Dropdown(
            [widgets.ALL_POINTS], value=widgets.ALL_POINTS, label="Point", elem_id="point", min_width=130
        )
        made["layer"] = gr.Dropdown([viewer.FUSED], value=viewer.FUSED, label="Layer", elem_id="layer", min_width=170)
        widgets.opacity()
    made["legend"] = gr.HTML("", elem_id="legend", padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["export"] = gr.Button(
            "Export: COCO, CSV, PNG, query", size="sm", elem_id="export", interactive=False, min_width=220, scale=0
        )
        made["accept"] = gr.Button(
            "Accept matches", size="sm", elem_id="accept", interactive=False, min_width=120, scale=0
        )
        made["reset"] = gr.Button(
            "Discard corrections", size="sm", elem_id="reset", interactive=False, min_width=140, scale=0
        )
    made["files"] = gr.HTML("", elem_id="files", padding=False)
    return made
