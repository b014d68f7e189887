"""The loop of all embeddings: it continues from any state with equal results, and says which number is not finite."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from semcorr.errors import NumericsError
from semcorr.matchers.prompt.attention_reader import Row
from semcorr.matchers.prompt.descent import OptimizerState, Step, descend
from semcorr.models.diffusion import DiffusionModel


def _quartic(step: int, embeddings: Tensor) -> Iterator[Tensor]:
    yield ((embeddings - 1) ** 4).mean(dim=(1, 2))
    yield step * embeddings[:, 0, 0]


def test_it_continues_from_any_state_with_equal_results(model: DiffusionModel):
    start = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    states: list[OptimizerState] = []
    seen: list[float] = []

    def report(step: Step) -> None:
        states.append(step.state())
        seen.append(step.loss)

    expected, losses = descend(model, start, _quartic, steps=5, lr=0.1, report=report)
    assert seen == losses.mean(dim=0).tolist()
    summands = [((start - 1) ** 4).mean(dim=(1, 2)), torch.zeros(2)]
    torch.testing.assert_close(losses[:, 0], torch.stack(summands).sum(dim=0))
    for state in states:
        again, rest = descend(model, state, _quartic, steps=5, lr=0.1, report=lambda _: None)
        assert torch.equal(again, expected)
        assert torch.equal(rest, losses[:, state.step :])


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("loss", r"^At step 2 of 3, point 5, rounds 1 to 2: The loss is not finite, in float32\. Lower .*is 0\.5\.$"),
        ("gradient", r"^At step 2 of 3, .*: The gradient to the embeddings is not finite"),
        ("embedding", r"^At the last of 3 steps, .*: Embeddings are not finite\. Lower"),
    ],
)
def test_what_is_not_finite_is_named_with_its_step_and_rows(model: DiffusionModel, trouble: str, message: str):
    def losses(step: int, embeddings: Tensor) -> Iterator[Tensor]:
        if trouble == "loss" and step == 1:
            yield embeddings.sum(dim=(1, 2)) * torch.inf
        if trouble == "gradient" and step == 1:
            yield (embeddings - embeddings.detach()).sum(dim=(1, 2)).sqrt()
        yield embeddings.sum(dim=(1, 2))

    def report(step: Step) -> None:
        if trouble == "embedding" and step.number == 3:
            step.embeddings.data[0, 0, 0] = torch.nan

    rows = [Row(point=4, round_=0), Row(point=4, round_=1)]
    with pytest.raises(NumericsError, match=message):
        descend(model, torch.zeros(2, 3, 4), losses, steps=3, lr=0.5, report=report, rows=rows)
