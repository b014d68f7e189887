"""``semcorr layers`` on the bundled model."""

import json
from dataclasses import asdict

from semcorr.matchers.model_layers import layers_of_model


def test_the_table_and_json_have_every_layer_and_how_to_set_it(semcorr):
    ran = semcorr("layers", "toy")
    assert ran.status == 0
    lines = [line for line in ran.out.splitlines() if "│" in line]
    listed = layers_of_model("toy")
    one_each = [layer for layer in listed.layers if layer.setting != "tap"]
    for line, layer in zip(lines, one_each, strict=False):
        assert all(part in line for part in (layer.name, f"{layer.setting} {layer.value}"))
        assert ("yes" in line) == layer.default
    # A row for each residual block and each block of the decoder, and one for all taps of a transformer block.
    alone = [layer.value for layer in listed.layers if layer.setting == "tap" and ".attn" not in layer.name]
    alone = [value for value in alone if not value.endswith(".hidden")]
    together = [layer.value for layer in listed.layers if str(layer.value).endswith(".hidden")]
    assert len(lines) == len(one_each) + len(alone) + len(together)
    assert all(f"tap {value} " in ran.out for value in alone)
    assert all(
        f"tap {value.replace('hidden', '{query, key, value, cross-query, hidden}')}" in ran.out for value in together
    )
    assert """--method prompt --set layers='["down/1:0", "up/1:1"]'""" in ran.out
    assert "--method dift --set block=2" in ran.out
    assert "--method dift --set tap=up/1:1.query" in ran.out
    ran = semcorr("layers", "toy", "--json")
    assert ran.status == 0
    assert json.loads(ran.out) == json.loads(json.dumps(asdict(listed)))


def test_an_unknown_model_is_named(semcorr):
    ran = semcorr("layers", "tooy")
    assert ran.status == 2
    assert "Did you mean 'toy'" in ran.err
