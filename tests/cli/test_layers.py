"""``semcorr layers`` on the bundled model."""

import json
from dataclasses import asdict

from semcorr.matchers.model_layers import layers_of_model


def test_the_table_and_json_have_every_layer_and_how_to_set_it(semcorr):
    ran = semcorr("layers", "toy")
    assert ran.status == 0
    lines = [line for line in ran.out.splitlines() if "│" in line]
    listed = layers_of_model("toy")
    assert len(lines) == len(listed.layers)
    for line, layer in zip(lines, listed.layers, strict=True):
        assert all(part in line for part in (layer.name, f"{layer.setting} {layer.value}"))
        assert ("yes" in line) == layer.default
    assert """--method prompt --set layers='["down/1:0", "up/1:1"]'""" in ran.out
    assert "--method dift --set block=2" in ran.out
    ran = semcorr("layers", "toy", "--json")
    assert ran.status == 0
    assert json.loads(ran.out) == json.loads(json.dumps(asdict(listed)))


def test_an_unknown_model_is_named(semcorr):
    ran = semcorr("layers", "tooy")
    assert ran.status == 2
    assert "Did you mean 'toy'" in ran.err
