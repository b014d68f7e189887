"""``semcorr layers``: what a network has to read, and how a setting selects it."""

import json as json_text
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import Json

if TYPE_CHECKING:
    from semcorr.matchers.model_layers import ModelLayers, ReadableLayer


def layers(model: str, /, *, revision: str | None = None, json: Json = False) -> int:
    """List the layers and blocks of MODEL that methods read, each with its size and what selects it.

    The network is loaded, and downloaded if it is a hub id that is not in the cache.

    Args:
        model: Hub id, folder, .safetensors file, or a bundled one: "lite0", "toy".
        revision: Branch, tag or commit of a hub id.
        json: Print one JSON document instead of a table.
    """
    from semcorr.matchers.model_layers import layers_of_model

    with console.TerminalProgress() as progress:
        progress.busy("load")
        listed = layers_of_model(model, revision=revision, progress=progress)
    if json:
        console.show_json(asdict(listed))
        return 0
    console.show(_table(listed))
    for method in dict.fromkeys(layer.method for layer in listed.layers):
        console.say(_example([layer for layer in listed.layers if layer.method == method]))
    if listed.note:
        console.say(listed.note)
    return 0


def _table(listed: "ModelLayers") -> Table:
    title = f"{listed.model} ({listed.family}), for images of {listed.resolution} x {listed.resolution} pixels"
    table = Table(title=title, title_justify="left")
    for heading in ("method", "layer", "setting", "size", "", "default"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    previous = ""
    for layer in listed.layers:
        if previous and layer.method != previous:
            table.add_section()
        depth = f"{layer.dim} wide" if layer.heads is None else f"{layer.heads} heads"
        size = f"{layer.height} x {layer.width}"
        name, previous = "" if layer.method == previous else layer.method, layer.method
        table.add_row(name, layer.name, f"{layer.setting} {layer.value}", size, depth, "yes" if layer.default else "")
    return table


def _example(layers: "list[ReadableLayer]") -> str:
    """Return how the first and the last layer of a method are set; one block where only one is read."""
    last = layers[-1]
    several = last.setting == "layers"
    values = list(dict.fromkeys((layers[0].value, last.value)))
    text = json_text.dumps(values if several else last.value)
    return f"For instance: --method {last.method} --set {last.setting}={repr(text) if several else text}"
