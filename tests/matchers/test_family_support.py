"""What is said of families is what their networks do."""

from pathlib import Path

import pytest

from models.diffusion.transformer_networks import JOINT, TRANSFORMERS, save_transformer
from semcorr.errors import SettingsError
from semcorr.matchers.family_support import family_support
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.matchers.prompt import PromptMatcher, preset
from semcorr.models.diffusion import FAMILIES, DiffusionModel
from semcorr.settings import override

SUPPORT = {family.name: family for family in family_support()}


def test_every_family_is_there_and_only_those_of_drawings_were_run_with_trained_weights() -> None:
    assert list(SUPPORT) == list(FAMILIES)
    assert [name for name, family in SUPPORT.items() if family.trained] == ["toy", "toy-transformer"]
    for name, family in SUPPORT.items():
        assert (family.network, family.layers) == (FAMILIES[name].network, FAMILIES[name].layers)
        assert family.sources
        assert family.tested


# One of each kind of keys is quick; the others are loaded in the same way.
QUICK = ("toy", "hunyuan-dit", "sd3")
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in (*TRANSFORMERS, *JOINT) if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *OTHERS])
def test_frozen_queries_words_and_regions_are_as_said(name: str, tmp_path: Path) -> None:
    where = "toy" if name == "toy" else save_transformer(tmp_path, name)
    model = DiffusionModel.from_pretrained(where, device="cpu")
    family = SUPPORT[name]
    assert model.family == name
    fast = preset("fast", name)
    assert ("frozen queries" in family.supported) == (not model.network.keys_depend_on_image)
    assert PromptMatcher(model, fast).settings.start == family.start
    assert model.network.linear_keys == (family.start == "least_squares")
    if family.start == "random":
        with pytest.raises(SettingsError, match=r"keys that are linear|keys depend on the image"):
            PromptMatcher(model, override(fast, queries="frozen", start="least_squares"))
    assert "words" in family.supported
    assert model.encode_text(["a cat"]).shape[2] == model.context_dim
    assert ("regions" in family.supported) == DiftMatcher.capabilities.regions
