import base64
import dataclasses
import io
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from safetensors.numpy import save_file

from semcorr.errors import QueryError
from semcorr.matchers.results import Diagnostics, Matches, Query
from semcorr.visualization.matches import draw_matches


@pytest.fixture
def query() -> Query:
    rng = np.random.default_rng(0)
    return Query(
        method="prompt",
        model_id="some/model",
        model_revision=None,
        model_fingerprint="ab" * 32,
        settings={"layers": ["up/4"], "lr": 0.1, "resolution": None},
        points=np.array([[1.25, 2.5], [3.0, 1 / 3]]),
        names=("left eye", "Schwanz – ü"),
        image_size=(40, 30),
        image_sha256="cd" * 32,
        tensors={"embeddings": rng.normal(size=(2, 3, 5, 4)).astype(np.float32), "losses": np.ones((2, 3, 7))},
    )


@pytest.fixture
def matches() -> Matches:
    rng = np.random.default_rng(0)
    return Matches(
        points=np.array([[10.0, 20.0], [5.5, 0.25]]),
        confidence=np.array([0.5, 0.125]),
        heatmaps=rng.random((2, 8, 8), dtype=np.float32),
        image_size=(60, 50),
        image_sha256="ef" * 32,
        query_points=np.array([[1.25, 2.5], [3.0, 1 / 3]]),
        names=None,
        diagnostics=Diagnostics(
            round_points=rng.random((2, 3, 2)),
            layer_points=rng.random((2, 4, 2)),
            layer_names=("a", "b", "c", "d"),
        ),
    )


def _equal(first: object, second: object) -> bool:
    for field in dataclasses.fields(first):  # type: ignore[arg-type]
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, np.ndarray):
            same = one.dtype == other.dtype and np.array_equal(one, other)
        elif field.name == "diagnostics":
            same = one is other is None or _equal(one, other)
        elif field.name == "tensors":
            same = one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
        else:
            same = one == other
        if not same:
            return False
    return True


def test_a_query_survives_its_file(query: Query, tmp_path: Path):
    path = query.save(tmp_path / "new folder" / "query.safetensors")
    assert _equal(Query.load(path), query)
    assert Query.load(path).tensors["embeddings"].dtype == np.float32
    unnamed = dataclasses.replace(query, names=None)
    assert Query.load(unnamed.save(path)).names is None


def test_matches_survive_their_file(matches: Matches, tmp_path: Path):
    assert _equal(Matches.load(matches.save(tmp_path / "matches.safetensors")), matches)
    without = dataclasses.replace(matches, diagnostics=None)
    assert _equal(Matches.load(without.save(tmp_path / "matches.safetensors")), without)


def test_some_points_matches_are_taken_with_all_that_belongs_to_them(matches: Matches) -> None:
    one = dataclasses.replace(matches, names=("a", "b")).take([1])
    assert one.names == ("b",)
    for name in ("points", "confidence", "heatmaps", "query_points"):
        np.testing.assert_array_equal(getattr(one, name), getattr(matches, name)[1:])
    assert one.diagnostics is not None
    assert matches.diagnostics is not None
    np.testing.assert_array_equal(one.diagnostics.layer_points, matches.diagnostics.layer_points[1:])


def test_results_cannot_be_changed(query: Query, matches: Matches, tmp_path: Path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        query.method = "other"  # type: ignore[misc]
    loaded = Query.load(query.save(tmp_path / "query.safetensors"))
    for array in (query.points, query.tensors["embeddings"], loaded.points, matches.points, matches.heatmaps):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_callers_array_is_copied():
    points = np.array([[1.0, 2.0]])
    made = Query(
        method="prompt",
        model_id="m",
        model_revision=None,
        model_fingerprint="f",
        settings={},
        points=points,
        image_size=(4, 4),
        image_sha256="s",
        tensors={},
    )
    points[0] = 9
    assert made.points.tolist() == [[1.0, 2.0]]


def test_names_must_fit(query: Query):
    with pytest.raises(QueryError, match="one name for each of the 2 points, got 1"):
        dataclasses.replace(query, names=("only one",))


def test_a_new_file_replaces_the_old_one_whole_and_leaves_nothing_beside_it(query: Query, tmp_path: Path):
    path = tmp_path / "query.safetensors"
    path.write_bytes(b"old")
    query.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["query.safetensors"]
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_failed_save_leaves_the_old_file(query: Query, tmp_path: Path):
    folder = tmp_path / "query.safetensors"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"query\.safetensors"):
        query.save(folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["query.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="reads permissions")
def test_the_file_is_one_that_others_can_read(query: Query, tmp_path: Path):
    before = os.umask(0o022)
    try:
        path = query.save(tmp_path / "query.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_missing_file_is_an_error(tmp_path: Path):
    with pytest.raises(QueryError, match=r"no query file '.*gone\.safetensors'"):
        Query.load(tmp_path / "gone.safetensors")
    with pytest.raises(QueryError, match="no query file"):
        Query.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100])
def test_a_broken_file_is_an_error(tmp_path: Path, content: bytes):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(QueryError, match="Cannot read the query file"):
        Query.load(path)


def test_a_truncated_file_is_an_error(query: Query, tmp_path: Path):
    path = query.save(tmp_path / "query.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(QueryError, match="Cannot read the query file"):
        Query.load(path)


def test_a_file_of_something_else_is_an_error(query: Query, matches: Matches, tmp_path: Path):
    path = matches.save(tmp_path / "matches.safetensors")
    with pytest.raises(QueryError, match="not a query file but a matches file"):
        Query.load(path)
    with pytest.raises(QueryError, match="not a matches file but a query file"):
        Matches.load(query.save(tmp_path / "query.safetensors"))
    save_file({"weight": np.zeros(3, dtype=np.float32)}, path)
    with pytest.raises(QueryError, match="not a query file but another file"):
        Query.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99 of the query format, expected 1"),
        ({"image_size": None}, r"incomplete query file \(Type"),
        ({"image_size": [1, 2, 3]}, r"incomplete query file \(ValueError"),
        ({"method": ...}, r"incomplete query file \(KeyError: 'method'"),
    ],
)
def test_a_file_with_another_header_is_an_error(tmp_path: Path, change: dict[str, object], message: str):
    header = {
        "semcorr": "query",
        "version": 1,
        "method": "prompt",
        "model_id": "m",
        "model_revision": None,
        "model_fingerprint": "f",
        "settings": {},
        "names": None,
        "image_size": [4, 4],
        "image_sha256": "s",
    }
    header = {name: value for name, value in (header | change).items() if value is not ...}
    path = tmp_path / "query.safetensors"
    save_file({"points": np.ones((1, 2))}, path, metadata={"semcorr": json.dumps(header)})
    with pytest.raises(QueryError, match=message):
        Query.load(path)


def test_a_file_without_points_is_an_error(query: Query, tmp_path: Path):
    path = query.save(tmp_path / "query.safetensors")
    size = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    save_file({"tensor.embeddings": np.ones((1, 1))}, path, metadata=metadata)
    with pytest.raises(QueryError, match="KeyError: 'points'"):
        Query.load(path)


def test_matches_as_json(matches: Matches):
    document = json.loads(json.dumps(matches.to_dict()))
    assert document["image_size"] == [60, 50]
    first = document["points"][0]
    assert (first["source"], first["target"], first["confidence"]) == ([1.25, 2.5], [10.0, 20.0], 0.5)
    assert (first["name"], len(first["rounds"]), len(first["layers"])) == (None, 3, 4)


def test_matches_draw_themselves(matches: Matches):
    source, target = PIL.Image.new("RGB", (40, 30), "white"), PIL.Image.new("RGB", (60, 50), "white")
    plain, heated = (draw_matches(matches, source, target, height=200, **extra) for extra in ({"heatmaps": None}, {}))
    assert plain.size == heated.size
    assert plain.tobytes() != heated.tobytes()


def test_a_line_says_what_they_are(query: Query, matches: Matches) -> None:
    assert repr(query) == "<Query of prompt on some/model: 2 points (left eye, Schwanz – ü) in an image of 40 × 30>"
    line = "<Matches: 2 points in an image of 60 × 50, confidence 0.12 to 0.50, uncalibrated>"
    assert repr(matches) == line
    changed = dataclasses.replace(matches, calibration="9 points of toy", warnings=("a", "b")).take([0])
    assert repr(changed) == (
        "<Matches: 1 point in an image of 60 × 50, confidence 0.50, calibrated on 9 points of toy, 2 warnings>"
    )
    assert repr(matches.take([])) == "<Matches: 0 points in an image of 60 × 50, uncalibrated>"
    many = dataclasses.replace(query.take([0] * 5), names=tuple("abcde"))
    assert "5 points (a, b, c, …)" in repr(many)


def test_notebooks_show_a_table_with_the_heat_maps(query: Query, matches: Matches) -> None:
    """Of a map with one hot cell: the hot colour is there, the dot at the point, and names are text."""
    maps = np.zeros((2, 5, 6), dtype=np.float32)
    maps[:, 4, 5] = 1
    shown = dataclasses.replace(matches, heatmaps=maps, names=("<script>", "b"))._repr_html_()
    assert shown.count("<tr>") == 3
    assert "<td>&lt;script&gt;</td><td>1.2, 2.5</td><td>10.0, 20.0</td><td>0.50</td><td><img " in shown
    encoded = re.findall(r"base64,([^\"]+)", shown)
    first = PIL.Image.open(io.BytesIO(base64.b64decode(encoded[0])))
    assert first.size == (230, 192)  # 60 × 50 in twice the height of 96
    assert first.getpixel((round(230 * 10 / 60), round(192 * 20 / 50))) == (0, 200, 255)
    assert first.getpixel((0, 0)) == (0, 0, 3)  # inferno's ends
    assert first.getpixel((229, 191)) == (252, 254, 164)
    assert "<img" not in query._repr_html_()
    assert "<td>2</td><td>Schwanz – ü</td><td>3.0, 0.3</td>" in query._repr_html_()
    many = matches.take([0] * 1025)._repr_html_()
    assert many.count("<img") == 20
    assert "and 1,005 more" in many


def test_records_are_a_table_of_pandas(matches: Matches) -> None:
    table = pd.DataFrame(dataclasses.replace(matches, names=("eye", "tail")).to_records())
    assert list(table) == ["name", "x", "y", "confidence", "calibrated", "source_x", "source_y"]
    assert [table.dtypes[name].kind for name in ("x", "y", "confidence")] == ["f"] * 3
    assert table.loc[1].tolist() == ["tail", 5.5, 0.25, 0.125, False, 3.0, 1 / 3]
    assert [one["name"] for one in matches.to_records()] == [None, None]
    assert dataclasses.replace(matches, calibration="9 points of toy").to_records()[0]["calibrated"] is True
    assert matches.take([]).to_records() == []


def _rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same file with another header."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    written = json.dumps(header).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + data[8 + size :])
    return path


def _retyped(name: str, dtype: str) -> Callable[[dict[str, Any]], None]:
    return lambda header: header[name].update(dtype=dtype)


def _reshaped(name: str, *shape: int) -> Callable[[dict[str, Any]], None]:
    return lambda header: header[name].update(shape=list(shape))


def _deep(header: dict[str, Any]) -> None:
    header["__metadata__"]["semcorr"] = "[" * 100_000


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, 10**8, 0])
def test_a_length_that_lies_is_an_error(query: Query, tmp_path: Path, length: int) -> None:
    path = query.save(tmp_path / "query.safetensors")
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(QueryError, match="Cannot read the query file"):
        Query.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_retyped("heatmaps", "BF16"), "Cannot read"),
        (_deep, "Cannot read"),
        (lambda header: header["points"].update(data_offsets=[0, 2**40]), "Cannot read"),
        (lambda header: header["points"].update(data_offsets=header["confidence"]["data_offsets"]), "Cannot read"),
        (_retyped("points", "C64"), "points of type complex64"),
        (_retyped("confidence", "I64"), "confidence of type int64"),
        (lambda header: header.update(points=header["query_points"], query_points=header["points"]), None),
    ],
)
def test_a_header_that_lies_is_an_error(
    matches: Matches, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str | None
) -> None:
    path = _rewritten(matches.save(tmp_path / "matches.safetensors"), change)
    if message is None:
        assert len(Matches.load(path).points) == len(matches.points)
        return
    with pytest.raises(QueryError, match=message):
        Matches.load(path)


def test_points_of_another_number_than_the_rest_are_an_error(matches: Matches, query: Query, tmp_path: Path) -> None:
    for name in ("confidence", "round_points", "layer_points", "heatmaps"):
        array = getattr(matches if hasattr(matches, name) else matches.diagnostics, name)
        path = matches.save(tmp_path / "matches.safetensors")
        with pytest.raises(QueryError, match=f"incomplete matches file .*{name} of shape"):
            Matches.load(_rewritten(path, _reshaped(name, 1, array.size)))
    path = query.save(tmp_path / "query.safetensors")
    size = next(array.size for array in query.tensors.values())
    name = next(iter(query.tensors))
    with pytest.raises(QueryError, match=f"incomplete query file .*{name} of shape"):
        Query.load(_rewritten(path, _reshaped(f"tensor.{name}", 1, 1, size)))


def test_points_that_are_not_finite_are_an_error(query: Query, tmp_path: Path) -> None:
    path = query.save(tmp_path / "query.safetensors")
    path.write_bytes(path.read_bytes().replace(query.points.tobytes(), np.full_like(query.points, np.nan).tobytes()))
    with pytest.raises(QueryError, match="points that are not finite"):
        Query.load(path)
