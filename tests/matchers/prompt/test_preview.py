"""Previews of an optimization: they change nothing, cost nothing unless called, and show the point."""

import numpy as np
import pytest

from semcorr.cli.console import TerminalProgress
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override
from semcorr.matchers.prompt.preview import AttentionPreview
from semcorr.models.diffusion import DiffusionModel

POINTS = [(112.5, 25.0), (37.5, 75.0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimize_crops": None},
        {"optimize_crops": 4, "optimize_noise": "shared"},
        {"queries": "frozen", "neutral": "zeros", "optimize_crops": 4, "optimize_noise": "shared"},
    ],
    ids=["live", "shared", "frozen"],
)
def test_looking_changes_no_result(
    model: DiffusionModel, settings: PromptSettings, source: Image, changes: dict[str, object]
) -> None:
    matcher = PromptMatcher(model, override(settings, steps=3, rounds=2, **changes))
    seen: list[np.ndarray] = []

    def looking(stage: str, done: int, total: int, **info: object) -> None:
        if stage == "optimize":
            preview = info["preview"]
            assert isinstance(preview, AttentionPreview)
            assert preview.points == (0, 1)
            seen.append(preview())

    without = matcher.describe(source, POINTS)
    previewed = matcher.describe(source, POINTS, progress=looking)
    assert len(seen) == 3
    side = matcher.settings.resolution or model.resolution
    assert {maps.shape for maps in seen} == {(2, side, side)}
    assert {maps.dtype for maps in seen} == {np.dtype("float32")}
    assert not np.array_equal(seen[0], seen[-1])
    for name, tensor in without.tensors.items():
        assert np.array_equal(tensor, previewed.tensors[name])


def test_it_shows_the_point_that_is_optimized(model: DiffusionModel, settings: PromptSettings, source: Image) -> None:
    matcher = PromptMatcher(model, override(settings, steps=60, rounds=1, lr=0.1, optimize_crop=1.0))
    last: list[np.ndarray] = []

    def looking(stage: str, done: int, total: int, **info: object) -> None:
        if stage == "optimize" and done == total:
            last.append(info["preview"]())  # type: ignore[operator]

    matcher.describe(source, POINTS, progress=looking)
    side = last[0].shape[1]
    for heat, (column, row) in zip(last[0], [(96, 32), (32, 96)], strict=True):
        peak = np.unravel_index(heat.argmax(), heat.shape)
        # A cell of the finest map that is read is an eighth of the side.
        assert abs(peak[1] - column * side / 128) <= side / 8
        assert abs(peak[0] - row * side / 128) <= side / 8


def test_a_terminal_shows_the_loss_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semcorr.cli.console._SECONDS_BETWEEN_LINES", 0.0)
    with TerminalProgress() as progress:
        for done in (1, 2):
            progress("optimize", done, 2, loss=0.25, preview=lambda: pytest.fail("nobody asked"))
    output = capsys.readouterr().err
    assert "loss 0.25" in output
    assert "preview" not in output
