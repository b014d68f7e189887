"""A setting of the paper's method is one field of its settings: options, files and checks follow from the field."""

import dataclasses
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from semcorr.errors import SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings
from semcorr.matchers.results import Query


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlurredSettings(PromptSettings):
    """The method's settings with one more."""

    blur: Annotated[float, Field(ge=0)] = 0.0


class BlurredMatcher(PromptMatcher):
    """The method with them; it does not blur."""

    settings_type = BlurredSettings


SMALL = {"steps": 1, "rounds": 1, "locate_crops": 4, "resolution": 64}


@pytest.fixture
def matcher(tiny_sd: Path) -> BlurredMatcher:
    return BlurredMatcher.from_pretrained(tiny_sd, "paper", device="cpu", blur="1.5", **SMALL)


def test_it_is_an_option_with_a_check_and_a_default(matcher: BlurredMatcher, tiny_sd: Path) -> None:
    assert matcher.settings.blur == 1.5
    assert BlurredMatcher.from_pretrained(tiny_sd, device="cpu", **SMALL).settings.blur == 0
    with pytest.raises(SettingsError, match="'blur': expected greater than or equal to 0, got '-1'"):
        BlurredMatcher.from_pretrained(tiny_sd, device="cpu", blur="-1")
    with pytest.raises(SettingsError, match="Did you mean 'blur'"):
        BlurredMatcher.from_pretrained(tiny_sd, device="cpu", blurr=1)


def test_results_depend_on_it_and_queries_keep_it(matcher: BlurredMatcher, source: Image, tmp_path: Path) -> None:
    assert matcher.identity()["settings"]["blur"] == 1.5
    query = Query.load(matcher.describe(source, [(10, 10)]).save(tmp_path / "query.safetensors"))
    assert query.settings["blur"] == 1.5


def test_a_query_from_before_it_was_there_has_its_default(matcher: BlurredMatcher, source: Image) -> None:
    query = matcher.describe(source, [(10, 10)])
    before = {name: value for name, value in query.settings.items() if name != "blur"}
    matches = matcher.locate(dataclasses.replace(query, settings=before), source)
    assert BlurredSettings.from_dict(before).blur == 0
    assert matches.points.shape == (1, 2)
