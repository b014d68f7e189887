import importlib.util
import json

import torch


def test_says_what_there_is(semcorr):
    ran = semcorr("doctor", "--json")
    assert ran.status == 0
    findings = {(entry["topic"], entry["name"]): entry for entry in json.loads(ran.out)["findings"]}
    assert findings["software", "torch"]["detail"] == torch.__version__
    assert findings["device", "cpu"]["usable"] is True
    assert findings["precision", "float32 on cpu"]["usable"] is True
    assert ("model", "toy") in findings
    assert {name for topic, name in findings if topic == "extra"} == {"app", "ray", "eval"}


def test_the_table_names_the_extras_to_install(semcorr):
    ran = semcorr("doctor")
    assert ran.status == 0
    assert "float32 on cpu" in ran.out
    # Square brackets are no markup.
    assert "eval" in ran.out
    for extra, package in {"app": "gradio", "ray": "ray"}.items():
        assert extra in ran.out
        missing = importlib.util.find_spec(package) is None
        assert (f"pip install 'semcorr[{extra}]'" in ran.out) == missing
