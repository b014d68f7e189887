"""The benchmark of regions: its figures are those of the definition."""

import numpy as np
import pytest

from benchmarks.command import main
from benchmarks.engine import __main__ as engine
from benchmarks.engine import regions
from semcorr.imaging.image import load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.toy.render import render_scene


def test_mean_iou_is_over_parts_that_both_show() -> None:
    truth = LabelMap(labels=np.array([[1, 1, 2, 3, 0]], dtype=np.uint8))
    predicted = np.array([[1, 2, 2, 0, 4]], dtype=np.uint8)
    assert regions.mean_iou(predicted, truth, {1, 2, 9}) == (1 / 2 + 1 / 2) / 2
    assert regions.mean_iou(predicted, truth, {1, 2, 3}) == pytest.approx(1 / 3)
    assert np.isnan(regions.mean_iou(predicted, truth, {9}))


def test_the_prior_moves_masks_from_box_to_box() -> None:
    def one(labels: list[list[int]], box: tuple[float, float, float, float]) -> regions.Drawing:
        parts = LabelMap(labels=np.array(labels, dtype=np.uint8))
        return regions.Drawing(image=load_image(np.zeros((2, 4, 3), np.uint8)), parts=parts, box=box)

    example = one([[1, 2, 0, 0], [3, 4, 0, 0]], (0, 0, 2, 2))
    target = one([[0] * 4] * 2, (0, 0, 4, 2))
    assert regions.prior([example], target, boxes=True).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert regions.prior([example], target, boxes=False).tolist() == [[1, 2, 0, 0], [3, 4, 0, 0]]
    other = one([[0, 2, 0, 0], [3, 3, 0, 0]], (0, 0, 2, 2))
    assert regions.prior([example, other, other], target, boxes=False).tolist() == [[0, 2, 0, 0], [3, 3, 0, 0]]


def test_a_group_is_measured_by_itself() -> None:
    scene = regions.drawing(render_scene(0, 64, split="val", category="car"))
    figures: regions.Figures = {}
    regions.measure([scene] * 10, {}, {}, figures)  # targets that are the example itself
    document = regions.summary(figures, split="val")
    assert document["targets"] == 5
    moved, still = document["rows"]
    assert (still["row"], still["1"]["mean"], still["5"]["interval"]) == (regions.IMAGE_PRIOR, 100, [100, 100])
    assert 98 < moved["1"]["mean"] <= 100  # pixels on the edge of a box belong to it in part
    assert still["5"]["lead"] == pytest.approx(100 - moved["5"]["mean"])


@pytest.mark.slow
def test_the_command_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(regions, "EXAMPLES", 2)
    monkeypatch.setattr(regions, "TARGETS", 1)
    assert main(engine.app, ["regions", "--split", "val", "--groups", "1", "--method", "dift"]) == 0
    printed = capsys.readouterr().out
    assert "4 drawings of val, 4 groups" in printed
    assert "dift" in printed
