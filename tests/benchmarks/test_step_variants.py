"""Other ways of running the network: they give what the default gives, and stay apart from it."""

import pytest
import torch

from benchmarks.step_variants import DEFAULT, Results, measure, report, variants, ways
from semcorr.errors import SettingsError
from semcorr.matchers.prompt import PromptSettings, override, preset
from semcorr.models.diffusion import DiffusionModel


@pytest.fixture
def settings(tiny_model: DiffusionModel) -> PromptSettings:
    once = {"optimize_crops": 1, "optimize_noise": "shared", "steps": 2, "rounds": 2, "resolution": 64}
    return override(preset("paper", tiny_model.family), **once)


@pytest.mark.slow
def test_every_way_gives_the_same(tiny_model: DiffusionModel, settings: PromptSettings) -> None:
    results = Results(model="tiny", rows=2)
    measure(ways(tiny_model, settings), 1, 2, results)
    assert list(results.seconds) == [DEFAULT, "gradient checkpointing", "channels-last memory"]
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in results.seconds.values())
    assert results.differences[DEFAULT] == 0
    # Adam divides by the gradient's size, so that rounding of a gradient near 0 shows; a step is lr long.
    assert max(results.differences.values()) < settings.lr
    assert results.saved_bytes["gradient checkpointing"] < results.saved_bytes[DEFAULT]
    weight = tiny_model.unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.contiguous_format)
    table, *_ = report(results)
    assert table.row_count == 3


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(SettingsError, match="from 1 on"):
        variants(repeats=0)
