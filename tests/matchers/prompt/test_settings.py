import dataclasses
import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcorr.errors import SettingsError
from semcorr.matchers.prompt.presets import paper, preset, reference
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.settings import current_names, earlier_names, override


def test_the_presets_differ_in_the_known_deviations_and_in_nothing_else():
    text, code = paper("sd1").to_dict(), reference("sd1").to_dict()
    assert {name: (text[name], code[name]) for name in text if text[name] != code[name]} == {
        "noise": ("gaussian", "uniform"),
        "locate_step": (8, 3),
        "heads": ("all", "upper_half"),
        "loss": ("mean_map", "per_layer"),
        "fusion": ("mean", "softmax"),
        "crop_margin": (0.0, 0.15),
        "pixel_centre": (0.5, 0.0),
        "optimize_crops": (12, None),
        "optimize_noise": ("shared", "fresh"),
    }


def test_shared_noise_needs_shared_crops():
    with pytest.raises(SettingsError, match=r"optimize_noise.*Set optimize_crops to a number, or optimize_noise=fresh"):
        override(paper("sd1"), optimize_crops=None)


def test_the_paper_preset_has_the_published_numbers():
    settings = paper("sd1")
    assert (settings.rounds, settings.steps, settings.locate_crops) == (5, 129, 20)
    assert settings.lr == pytest.approx(2.3755632e-3)
    assert settings.sigma * 512 == pytest.approx(27.97853)
    assert int(settings.optimize_crop * 512) == int(settings.locate_crop * 512) == 477
    assert (settings.optimize_step, settings.steps_of, settings.token) == (8, 50, 1)
    assert settings.layers == ("up/4", "up/2:0")


def test_the_toy_has_its_own_optimisation_numbers():
    assert paper("toy").lr > paper("sd1").lr
    assert paper("toy").layers != paper("sd1").layers


@pytest.mark.parametrize("name", ["paper", "reference"])
def test_presets_have_names(name: str):
    assert preset(name, "sd2") == {"paper": paper, "reference": reference}[name]("sd2")


def test_an_unknown_preset_names_the_nearest_and_all():
    with pytest.raises(SettingsError, match=r"Unknown preset 'papr'. Did you mean 'paper'\? .*paper, reference"):
        preset("papr")


def test_an_unknown_family_names_those_there_are():
    with pytest.raises(SettingsError, match=r"family 'sd9'.*sd1, sd2, sdxl, toy"):
        paper("sd9")


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(SettingsError, match=r"Unknown setting 'round'. Did you mean 'rounds'\?"):
        override(paper(), round=3)
    with pytest.raises(SettingsError, match=r"Unknown setting 'learning_rate'.*lr"):
        PromptSettings.from_dict({**paper().to_dict(), "learning_rate": 1})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rounds", 0, "greater than or equal to 1"),
        ("rounds", "many", "integer"),
        ("lr", float("nan"), "finite"),
        ("noise", "pink", "'gaussian' or 'uniform'"),
        ("heads", "lower_half", "'all'"),
        ("heads", (-1,), "greater than or equal to 0"),
        ("layers", (), "at least 1 item"),
        ("locate_crop", 0.4, "greater than or equal to 0.5"),
        ("crop_margin", 0.5, "less than 0.5"),
        ("optimize_step", 51, "at most steps_of = 50"),
        ("locate_crops", 3, "at least 4"),
        ("seed", -1, "greater than or equal to 0"),
    ],
)
def test_a_value_that_does_not_fit_says_what_would(name: str, value: object, expected: str):
    with pytest.raises(SettingsError, match=rf"Setting '{name}'.*{expected}.*got") as caught:
        override(paper(), **{name: value})
    assert "\n" not in str(caught.value)


def test_few_crops_are_enough_when_each_is_the_whole_image():
    assert override(paper(), locate_crop=1.0, locate_crops=1).locate_crops == 1


def test_values_may_be_texts_of_a_command_line():
    changed = override(paper(), rounds="2", lr="0.1", layers="up/4:1 up/2", heads="4,5", noise="uniform")
    assert (changed.rounds, changed.lr, changed.noise) == (2, 0.1, "uniform")
    assert changed.layers == ("up/4:1", "up/2")
    assert changed.heads == (4, 5)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        paper().rounds = 3  # type: ignore[misc]


@given(
    rounds=st.integers(1, 50),
    lr=st.floats(1e-9, 10),
    heads=st.one_of(st.just("all"), st.lists(st.integers(0, 30)).map(tuple)),
    seed=st.integers(0, 2**63 - 1),
)
def test_settings_survive_json(rounds: int, lr: float, heads: object, seed: int):
    settings = override(paper("sd1"), rounds=rounds, lr=lr, heads=heads, seed=seed)
    assert PromptSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_settings_of_an_earlier_version_are_read_under_todays_names():
    today = override(paper("sd1"), optimize_step=3, optimize_crop=0.5, optimize_crops=7).to_dict()
    stored = earlier_names(today)
    assert {name for name in stored if name.startswith("learn_")} == {
        "learn_step", "learn_crop", "learn_crops", "learn_noise",
    }  # fmt: skip
    assert PromptSettings.from_dict(stored).to_dict() == today
    assert current_names({"matcher": {"model_id": "toy", "settings": stored}}) == {
        "matcher": {"model_id": "toy", "settings": today}
    }


def test_names_of_an_earlier_version_are_for_files_alone():
    with pytest.raises(SettingsError, match="Unknown setting 'learn_crops'"):
        override(paper("sd1"), learn_crops=4)


def test_settings_without_layers_are_refused():
    values = paper().to_dict()
    del values["layers"]
    with pytest.raises(SettingsError, match="'layers' is missing"):
        PromptSettings.from_dict(values)


def test_every_setting_is_documented():
    for field in dataclasses.fields(PromptSettings):
        assert f"\n    {field.name}: " in str(inspect.getdoc(PromptSettings)), field.name
