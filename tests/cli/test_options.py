from pathlib import Path

import pytest

from semcorr.cli.figures import FigureNames
from semcorr.cli.options import MatcherOptions, parse_settings
from semcorr.errors import SettingsError
from semcorr.matchers.prompt.presets import preset
from semcorr.settings import override


def test_values_are_json_where_they_are_json():
    assert parse_settings(["rounds=3", "lr=1e-2", "noise=uniform", 'layers=["up/4"]', "resolution=null"]) == {
        "rounds": 3,
        "lr": 0.01,
        "noise": "uniform",
        "layers": ["up/4"],
        "resolution": None,
    }


def test_a_name_may_be_written_with_dashes_and_a_value_may_hold_an_equals_sign():
    assert parse_settings(["locate-crops=8", "noise=a=b"]) == {"locate_crops": 8, "noise": "a=b"}


@pytest.mark.parametrize("text", ["rounds", "=1", " =1"])
def test_no_assignment(text):
    with pytest.raises(SettingsError, match="name=value"):
        parse_settings([text])


def test_options_that_save_memory_are_passed_on_where_they_are_given():
    given = {"offload": True, "quantize": "int8"}
    spec = MatcherOptions(method="dift", **given).spec()
    assert {name: spec.options[name] for name in given} == given
    # To another method on the same network too.
    assert {name: spec.for_method("prompt").options[name] for name in given} == given
    assert not set(given) & set(MatcherOptions(method="dift").spec().options)


def test_figure_names_never_repeat():
    name = FigureNames(Path("out"), "a/cat.jpg")
    given = [name("b/lion.jpg"), name("c/lion.png"), name("lion-2.png"), name("LION.png")]
    assert [path.name for path in given] == [
        "cat-to-lion.png",
        "cat-to-lion-2.png",
        "cat-to-lion-2-2.png",
        "cat-to-LION-3.png",
    ]


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_a_value_that_is_no_json_for_its_length_is_a_text(value):
    assert parse_settings([f"rounds={value}"]) == {"rounds": value}


@pytest.mark.parametrize("name", ["model", "method", "preset", "self", "progress"])
def test_what_is_no_setting_is_refused(name):
    with pytest.raises(SettingsError, match=f"'{name}' is no setting"):
        parse_settings([f"{name}=1"])


def test_a_setting_by_the_name_of_an_argument_is_unknown():
    with pytest.raises(SettingsError, match="Unknown setting 'settings'"):
        override(preset("paper"), **parse_settings(["settings=1"]))
