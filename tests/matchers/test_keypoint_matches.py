"""Matches as transformers' key-point matching pipeline gives them."""

import json
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from transformers.pipelines.keypoint_matching import Keypoint, Match

from semcorr.errors import QueryError
from semcorr.matchers.keypoint_matches import read_keypoint_matches, write_keypoint_matches
from semcorr.matchers.results import Matches


@pytest.fixture
def matches() -> Matches:
    return Matches(
        points=np.array([[10.5, 20.5], [3.25, 4.75], [7, 8]]),
        confidence=np.array([0.2, 0.9, 0.5]),
        heatmaps=np.zeros((3, 2, 2)),
        image_size=(64, 48),
        image_sha256="0",
        query_points=np.array([[1.5, 2.5], [5, 6], [0.5, 0.5]]),
    )


def test_records_are_the_pipelines_own(matches: Matches) -> None:
    records = matches.to_keypoint_matches()
    # The pipeline names pixels: the centre of the first one is (0, 0).
    assert records[0] == {
        "keypoint_image_0": {"x": 4.5, "y": 5.5},
        "keypoint_image_1": {"x": 2.75, "y": 4.25},
        "score": 0.9,
    }
    assert [one["score"] for one in records] == [0.9, 0.5, 0.2]
    for one in records:
        assert one.keys() == get_type_hints(Match).keys()
        assert one["keypoint_image_0"].keys() == one["keypoint_image_1"].keys() == get_type_hints(Keypoint).keys()


@pytest.mark.parametrize("pairs", [1, 2])
def test_records_are_read_as_they_were_written(matches: Matches, tmp_path: Path, pairs: int) -> None:
    path = write_keypoint_matches(tmp_path / "pairs.json", [matches.to_keypoint_matches()] * pairs)
    again = read_keypoint_matches(path)
    assert len(again) == pairs
    source, target, score = again[-1]
    np.testing.assert_array_equal(source, matches.query_points[[1, 2, 0]])
    np.testing.assert_array_equal(target, matches.points[[1, 2, 0]])
    np.testing.assert_array_equal(score, [0.9, 0.5, 0.2])


def test_a_pair_without_matches(tmp_path: Path) -> None:
    path = write_keypoint_matches(tmp_path / "pairs.json", [[]])
    assert json.loads(path.read_text()) == []
    ((source, target, score),) = read_keypoint_matches(path)
    assert source.shape == target.shape == (0, 2)
    assert score.shape == (0,)


@pytest.mark.parametrize("text", ["", "{}", '[{"score": 1}]', "[1]", "[[[]]]", '[{"keypoint_image_0": {"x": NaN}}]'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(QueryError, match="keypoint_image_0"):
        read_keypoint_matches(path)
    with pytest.raises(QueryError, match="cannot be read"):
        read_keypoint_matches(tmp_path / "none.json")
