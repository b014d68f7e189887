"""``semcorr layers``: what a network has to read, and how a setting selects it."""

import itertools
import json as json_text
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import Json

if TYPE_CHECKING:
    from semcorr.matchers.model_layers import ModelLayers, ReadableLayer


def layers(model: str, /, *, revision: str | None = None, json: Json = False) -> int:
    """List the layers, blocks and taps of MODEL that methods read, each with its size and what selects it.

    Taps of one transformer block that have the same size share a row; JSON has each of them. The network is loaded, and
    downloaded if it is a hub id that is not in the cache.

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
    for method, setting in dict.fromkeys((layer.method, layer.setting) for layer in listed.layers):
        console.say(_example([one for one in listed.layers if (one.method, one.setting) == (method, setting)]))
    if listed.note:
        console.say(listed.note)
    return 0


def _table(listed: "ModelLayers") -> Table:
    title = f"{listed.model} ({listed.family}), for images of {listed.resolution} x {listed.resolution} pixels"
    table = Table(title=title, title_justify="left")
    for heading in ("method", "layer", "setting", "size", "", "default"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    previous = ""
    for several in _rows(listed.layers):
        layer = several[0]
        if previous and layer.method != previous:
            table.add_section()
        depth = f"{layer.dim} wide" if layer.heads is None else f"{layer.heads} heads"
        size = f"{layer.height} x {layer.width}"
        method, previous = "" if layer.method == previous else layer.method, layer.method
        name, value = layer.name, str(layer.value)
        if layer.setting == "tap":  # the module is in JSON
            name, (rule, _, what) = "", value.rpartition(".")
            if len(several) > 1:
                what = ", ".join(str(one.value).rpartition(".")[2] for one in several)
                value = f"{rule}.{{{what}}}"
        table.add_row(method, name, f"{layer.setting} {value}", size, depth, "yes" if layer.default else "")
    return table


def _rows(layers: "Sequence[ReadableLayer]") -> "Iterator[list[ReadableLayer]]":
    """Yield what shares a row: taps of one block that have the same size, and every other layer alone."""

    def kind(numbered: "tuple[int, ReadableLayer]") -> tuple[object, ...]:
        number, layer = numbered
        if layer.setting != "tap" or str(layer.value).endswith(".resnet"):
            return (number,)
        return (str(layer.value).rpartition(".")[0] or number, layer.height, layer.width, layer.dim)

    for _, some in itertools.groupby(enumerate(layers), key=kind):
        yield [layer for _, layer in some]


def _example(layers: "list[ReadableLayer]") -> str:
    """Return how the first and the last layer of a method are set; one block or tap where only one is read."""
    queries = [layer for layer in layers if str(layer.value).endswith(".query")]
    last = (queries or layers)[-1]
    if last.setting == "layers":
        values = list(dict.fromkeys((layers[0].value, last.value)))
        return f"For instance: --method {last.method} --set layers={json_text.dumps(values)!r}"
    return f"For instance: --method {last.method} --set {last.setting}={last.value}"
