"""The benchmark of peaks: what it finds is what the methods find, and its figures are those of the definition."""

import dataclasses

import numpy as np
import pytest

from benchmarks import peak_refinement as peaks
from benchmarks.command import main
from semcorr.cli.evaluate import DataOptions
from semcorr.imaging.image import load_image
from semcorr.matchers.attention_dift import AttentionDiftMatcher, settings_of
from semcorr.models.diffusion import DiffusionModel
from semcorr.settings import override


@pytest.mark.slow
def test_points_from_the_same_maps_are_those_that_a_method_locates(toy_model: DiffusionModel) -> None:
    (pair,) = DataOptions(split="val", limit=1).read("toy").pairs
    source, target = load_image(pair.source.path), load_image(pair.target.path)
    (find,) = peaks.finders_of(toy_model, ["attention-dift"])
    points = find(pair, source, target)
    for kind in peaks.PEAKS:
        matcher = AttentionDiftMatcher(toy_model, override(settings_of("fast", "toy"), peak=kind))
        query = matcher.describe(source, pair.source.points)
        np.testing.assert_allclose(points["attention-dift", kind], matcher.locate(query, target).points)


def test_shares_are_counted_against_the_longer_side_of_the_box() -> None:
    dataset = DataOptions(split="val", limit=2).read("toy")
    pairs_points = []
    for pair in dataset.pairs:
        x0, y0, x1, y1 = pair.target.box or (0, 0, 0, 0)
        side = max(x1 - x0, y1 - y0)
        near, far = (pair.target.points + np.array([part * side, 0]) for part in (0.015, 0.06))
        pairs_points.append({("a", "cell"): far, ("a", "parabola"): near})
    cell, parabola = peaks.rows(pairs_points, dataset)
    assert (cell["pck"], parabola["pck"]) == ([0, 0, 100], [100, 100, 100])
    assert parabola["lead"] == [100, 100, 0]
    assert parabola["points"] == sum(len(pair.names) for pair in dataset.pairs)
    assert peaks.rows([], dataclasses.replace(dataset, pairs=())) == []


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(peaks.app, ["--limit", "1", "--methods", "dift", "nbb"]) == 0
    printed = capsys.readouterr().out
    assert "1 val pairs" in printed
    assert printed.count("parabola") == 2
    assert main(peaks.app, ["--methods", "dino"]) == 2
    assert "got 'dino'" in capsys.readouterr().err
