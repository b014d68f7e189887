import importlib.util
import json
from dataclasses import asdict
from functools import partial

import huggingface_hub
import torch

from semcorr.matchers.family_support import family_support


def test_says_what_there_is(semcorr):
    ran = semcorr("doctor", "--json")
    assert ran.status == 0
    findings = {(entry["topic"], entry["name"]): entry for entry in json.loads(ran.out)["findings"]}
    assert findings["software", "torch"]["detail"] == torch.__version__
    assert findings["device", "cpu"]["usable"] is True
    assert findings["precision", "float32 on cpu"]["usable"] is True
    assert ("model", "toy") in findings
    assert findings["model", "lite0"]["usable"] is True
    assert findings["method", "hypercolumn"]["usable"]
    assert {name for topic, name in findings if topic == "extra"} == {"app", "cvat", "ray", "eval", "sleap", "quantize"}


def test_the_table_names_the_extras_to_install(semcorr):
    ran = semcorr("doctor")
    assert ran.status == 0
    assert "float32 on cpu" in ran.out
    # Square brackets are no markup.
    assert "eval" in ran.out
    for extra, package in {"app": "uvicorn", "ray": "ray"}.items():
        assert extra in ran.out
        missing = importlib.util.find_spec(package) is None
        assert (f"pip install 'semcorr[{extra}]'" in ran.out) == missing


def test_networks_in_the_hub_cache_are_named(semcorr, tmp_path, monkeypatch):
    for name, config in {
        "timm--vgg19.tv_in1k": {"architecture": "vgg19"},
        "timm--vit_tiny": {"architecture": "vit_tiny_patch16_224"},
        "facebook--dinov2-base": {"model_type": "dinov2"},
        "someone--bert": {"model_type": "bert"},
    }.items():
        files = tmp_path / f"models--{name}" / "snapshots" / "0123"
        files.mkdir(parents=True)
        (files / "config.json").write_text(json.dumps(config))
        (files / "model.safetensors").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", partial(huggingface_hub.scan_cache_dir, tmp_path))
    findings = json.loads(semcorr("doctor", "--json").out)["findings"]
    cached = {entry["name"]: entry["detail"] for entry in findings if entry["detail"].startswith("in the hub cache")}
    assert cached == dict.fromkeys(("facebook/dinov2-base", "timm/vgg19.tv_in1k"), "in the hub cache, 2 MB")


def test_families_are_the_packages_own_and_what_never_ran_is_said(semcorr):
    ran = semcorr("doctor", "--families")
    assert ran.status == 0
    known = family_support()
    for family in known:
        assert sum(line.startswith(f"│ {family.name} ") for line in ran.out.splitlines()) == 2
    never = ", ".join(family.name for family in known if not family.trained)
    assert f"Never run here with trained weights: {never}." in ran.out
    document = json.loads(semcorr("doctor", "--families", "--json").out)
    assert document == json.loads(json.dumps({"families": [asdict(family) for family in known]}))
