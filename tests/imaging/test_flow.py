import dataclasses
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from semcorr.errors import FlowError, PointError
from semcorr.imaging.flow import Flow, grid_points
from semcorr.imaging.geometry import lattice


def made(size: tuple[int, int] = (7, 5), step: int = 1, seed: int = 0) -> Flow:
    """A flow of noise with one unknown vector."""
    rng = np.random.default_rng(seed)
    points, index = grid_points(size, step)
    targets = points + rng.normal(size=points.shape)
    targets[1] = np.nan
    scores = rng.random(len(points))
    return Flow.from_points(targets, index, confidence=scores, source_size=size, target_size=(11, 3), step=step)


def same(one: Flow, other: Flow) -> bool:
    arrays = all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in ("displacement", "confidence")
    )
    return arrays and all(getattr(one, name) == getattr(other, name) for name in ("source_size", "target_size", "step"))


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_with_step_one_the_grid_is_the_pixel_centres() -> None:
    points, index = grid_points((3, 2))
    assert points.tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5]]
    assert index.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_a_mask_leaves_the_points_of_its_pixels() -> None:
    mask = np.zeros((9, 12), dtype=bool)
    mask[4, 7] = mask[1, 1] = mask[7, 9] = True  # the points of step 3 are in pixels 1, 4, 7, 10
    points, index = grid_points((12, 9), 3, mask)
    assert points.tolist() == [[1.5, 1.5], [7.5, 4.5]]
    assert index.tolist() == [[0, 0], [1, 2]]


def test_targets_are_put_at_their_grid_points() -> None:
    mask = np.zeros((4, 6), dtype=bool)
    mask[:, 3:] = True
    points, index = grid_points((6, 4), 2, mask)
    flow = Flow.from_points(
        points * 10 + (1, 2), index, confidence=np.linspace(0, 1, 4), source_size=(6, 4), target_size=(60, 50), step=2
    )
    assert flow.known.tolist() == [[False, True, True], [False, True, True]]
    np.testing.assert_array_equal(flow.target_points()[:, 1:], [[[31, 12], [51, 12]], [[31, 32], [51, 32]]])
    np.testing.assert_array_equal(flow.displacement[1, 2], (51 - 5, 32 - 3))
    assert np.isnan(flow.target_points()[:, 0]).all()
    np.testing.assert_allclose(flow.confidence, [[0, 0, 1 / 3], [0, 2 / 3, 1]], rtol=1e-6)


def test_without_confidence_all_that_is_known_is_sure() -> None:
    points, index = grid_points((3, 2))
    points[4] = (np.nan, 1)  # half a vector is none
    flow = Flow.from_points(points, index, source_size=(3, 2), target_size=(3, 2))
    assert flow.confidence.tolist() == [[1, 1, 1], [1, 0, 1]]
    assert np.isnan(flow.displacement[1, 1]).all()
    assert (flow.displacement[flow.known] == 0).all()


@pytest.mark.parametrize("step", [0, -1, 10, 11])
def test_a_step_without_points_is_refused(step: int) -> None:
    with pytest.raises(FlowError, match=r"step must be 1 or more, and for an image of 8 x 5 pixels less than 10"):
        grid_points((8, 5), step)
    assert len(grid_points((8, 5), 9)[0]) == 1


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(FlowError, match=r"mask must be \(height, width\) of the image, \(5, 8\), got \(8, 5\)"):
        grid_points((8, 5), 1, np.ones((8, 5), dtype=bool))
    with pytest.raises(PointError, match="No point of the grid is in the mask: it has 0 pixels"):
        grid_points((8, 5), 2, np.zeros((5, 8), dtype=bool))
    sizes = {"source_size": (8, 5), "target_size": (8, 5)}
    points, _ = grid_points((8, 5))
    for wrong in (-1, 5):
        with pytest.raises(FlowError, match="of a grid of 5 rows and 8 columns"):
            Flow.from_points(points[:1], np.array([[wrong, 0]]), **sizes)
    with pytest.raises(FlowError, match=r"displacement must have shape \(5, 8, 2\).*got \(8, 5, 2\)"):
        Flow(displacement=np.zeros((8, 5, 2)), confidence=np.zeros((8, 5)), **sizes)
    for bad in (-0.1, 1.5, np.nan):
        with pytest.raises(FlowError, match="confidence must be from 0 to 1"):
            Flow(displacement=np.zeros((5, 8, 2)), confidence=np.full((5, 8), bad), **sizes)
    with pytest.raises(FlowError, match="target_size must be"):
        Flow(displacement=np.zeros((5, 8, 2)), confidence=np.zeros((5, 8)), source_size=(8, 5), target_size=(0, 5))
    with pytest.raises(FlowError, match="at least 1 x 1 pixels, got 0 x 5"):
        grid_points((0, 5))


def test_a_flow_cannot_be_changed() -> None:
    displacement = np.zeros((2, 2, 2))
    flow = Flow(displacement=displacement, confidence=np.ones((2, 2)), source_size=(2, 2), target_size=(2, 2))
    displacement[0] = 9
    assert (flow.displacement == 0).all()
    for array in (flow.displacement, flow.confidence):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        flow.step = 2  # type: ignore[misc]


# --- one vector for each pixel ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("size", [(16, 12), (17, 13), (19, 11)])
def test_dense_is_bilinear_between_the_grids_points(step: int, size: tuple[int, int]) -> None:
    # A bilinear field is kept between the points, and held at the outermost ones beyond.
    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([0.3 * x - 0.2 * y + 0.01 * x * y, 2 - 0.5 * x], axis=-1)

    grid = lattice(size, step)
    flow = Flow(
        displacement=field(grid[..., 0], grid[..., 1]),
        confidence=grid[..., 0] / 40,
        source_size=size,
        target_size=(9, 9),
        step=step,
    )
    dense = flow.dense()
    assert (dense.step, dense.source_size, dense.target_size) == (1, size, (9, 9))
    x = np.clip(np.arange(size[0]) + 0.5, *grid[0, [0, -1], 0])
    y = np.clip(np.arange(size[1]) + 0.5, *grid[[0, -1], 0, 1])[:, None]
    np.testing.assert_allclose(dense.displacement, field(*np.broadcast_arrays(x, y)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dense.confidence, np.broadcast_to(x / 40, dense.confidence.shape), rtol=1e-6)


def test_unknown_vectors_take_no_part_in_their_neighbours() -> None:
    displacement = np.full((3, 4, 2), (2.0, -3.0))
    displacement[1, 2] = np.nan
    flow = Flow(
        displacement=displacement, confidence=np.full((3, 4), 0.75), source_size=(16, 12), target_size=(9, 9), step=4
    )
    dense = flow.dense()
    expected = np.ones((12, 16), dtype=bool)
    expected[4:8, 8:12] = False  # the pixels nearest to that point
    np.testing.assert_array_equal(dense.known, expected)
    np.testing.assert_allclose(dense.displacement[expected], np.broadcast_to((2, -3), (12 * 16 - 16, 2)), rtol=1e-6)
    np.testing.assert_allclose(dense.confidence, 0.75 * expected, rtol=1e-6)


def test_a_dense_flow_is_its_own_dense_flow() -> None:
    flow = made()
    assert flow.dense() is flow


# --- .flo -------------------------------------------------------------------------------------------------------------


def test_a_flo_file_byte_by_byte(tmp_path: Path) -> None:
    displacement = np.array([[[1.5, -2], [0, 0.25], [np.nan, np.nan]], [[3, 4], [5, 6], [-7, 1e6]]])
    flow = Flow(displacement=displacement, confidence=np.ones((2, 3)), source_size=(3, 2), target_size=(30, 20))
    data = flow.save(tmp_path / "new folder" / "a.flo").read_bytes()
    numbers = (1.5, -2.0, 0.0, 0.25, 1e10, 1e10, 3.0, 4.0, 5.0, 6.0, -7.0, 1e6)
    assert data == struct.pack("<f2i12f", 202021.25, 3, 2, *numbers)
    assert data[:4] == b"PIEH"
    assert [entry.name for entry in (tmp_path / "new folder").iterdir()] == ["a.flo"]


def test_a_flo_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "A.FLO"
    path.write_bytes(struct.pack("<f2i8f", 202021.25, 2, 2, 1, 2, 1.7e9, 0, 0, -1.1e9, float("nan"), 1e9))
    flow = Flow.load(path)
    assert (flow.source_size, flow.target_size, flow.step) == ((2, 2), (2, 2), 1)
    assert flow.displacement[0, 0].tolist() == [1, 2]
    assert flow.known.tolist() == [[True, False], [False, False]]
    assert flow.confidence.tolist() == [[1, 0], [0, 0]]


def test_a_flo_file_there_and_back(tmp_path: Path) -> None:
    flow = made()
    back = Flow.load(flow.save(tmp_path / "a.flo"))
    np.testing.assert_array_equal(back.displacement, flow.displacement)
    np.testing.assert_array_equal(back.confidence, flow.known)


def test_a_flo_file_has_one_vector_for_each_pixel(tmp_path: Path) -> None:
    coarse = made((9, 8), 3)
    with pytest.raises(FlowError, match=r"this flow one for every 3: save dense\(\), or save as \.npz"):
        coarse.save(tmp_path / "a.flo")
    assert list(tmp_path.iterdir()) == []
    assert Flow.load(coarse.dense().save(tmp_path / "a.flo")).source_size == (9, 8)


@pytest.mark.parametrize("kept", [0, 3, 4, 11])
def test_a_flo_file_without_a_head(tmp_path: Path, kept: int) -> None:
    path = made().save(tmp_path / "a.flo")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FlowError, match=rf"is no \.flo file: expected it to start with b'PIEH' .*{kept} bytes"):
        Flow.load(path)


@pytest.mark.parametrize(("change", "word"), [(-1, "short"), (-268, "short"), (1, "long"), (8, "long")])
def test_a_flo_file_of_the_wrong_length(tmp_path: Path, change: int, word: str) -> None:
    path = made().save(tmp_path / "a.flo")
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    message = rf"too {word}: a flow of 7 x 5 pixels takes 292 bytes, and it has {292 + change}\."
    with pytest.raises(FlowError, match=message):
        Flow.load(path)


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (2**31 - 1, 2**31 - 1), (20_000, 20_000)])
def test_a_flo_file_that_claims_an_impossible_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(struct.pack("<f2i", 202021.25, *size) + bytes(80))
    with pytest.raises(FlowError, match=rf"claims {size[0]} x {size[1]} pixels"):
        Flow.load(path)


@pytest.mark.parametrize("data", [b"HEIP" + bytes(40), struct.pack(">f2i2f", 202021.25, 1, 1, 0, 0), b"\xff" * 60])
def test_a_flo_file_of_something_else(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(data)
    with pytest.raises(FlowError, match=r"is no \.flo file"):
        Flow.load(path)


# --- .npz -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2])
def test_an_npz_file_keeps_everything(tmp_path: Path, step: int) -> None:
    flow = made(step=step)
    assert same(Flow.load(flow.save(tmp_path / "a.npz")), flow)
    assert not same(Flow.load(flow.save(tmp_path / "a.npz")), made(step=step, seed=1))


def test_equal_flows_make_equal_files(tmp_path: Path) -> None:
    assert made().save(tmp_path / "a.npz").read_bytes() == made().save(tmp_path / "b.npz").read_bytes()


def test_a_broken_npz_file_is_an_error(tmp_path: Path) -> None:
    path = made().save(tmp_path / "a.npz")
    data = path.read_bytes()
    for broken in (b"", b"hello", data[:-1], data[: len(data) // 2], b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(FlowError, match=r"Cannot read the flow file '.*a\.npz'"):
            Flow.load(path)


def test_a_flipped_byte_is_an_error_or_makes_no_difference(tmp_path: Path) -> None:
    flow = made()
    path = flow.save(tmp_path / "a.npz")
    data, refused = path.read_bytes(), 0
    for index in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[index] ^= 0xFF
        path.write_bytes(bytes(flipped))
        try:
            loaded = Flow.load(path)
        except FlowError:
            refused += 1
        else:
            assert same(loaded, flow)
    assert refused > len(data) / 7 / 2


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, semcorr=np.array("flow"), displacement=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FlowError, match="Object arrays cannot be loaded"):
        Flow.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"semcorr": ...}, "is no flow file but another file"),
        ({"semcorr": "query"}, "is no flow file but another file"),
        ({"version": 9}, "has version 9 of the flow format, expected 1"),
        ({"confidence": ...}, "incomplete flow file: 'confidence' is missing"),
        ({"source_size": (7, 5, 3)}, "Cannot read the flow file"),
        ({"source_size": (20_000, 20_000)}, "claims 20000 x 20000 pixels"),
        ({"source_size": (6, 5)}, r"The fields of '.*' do not fit together: displacement must have shape \(5, 6, 2\)"),
        ({"step": 2}, "The fields of .* do not fit together: displacement must have shape"),
        ({"confidence": np.full((5, 7), 2.0)}, "The fields of .* do not fit together: confidence must be from 0 to 1"),
    ],
)
def test_an_npz_file_of_something_else(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with np.load(made().save(tmp_path / "a.npz")) as archive:
        arrays = {name: archive[name] for name in archive.files} | change
    np.savez(tmp_path / "a.npz", **{name: value for name, value in arrays.items() if value is not ...})
    with pytest.raises(FlowError, match=message):
        Flow.load(tmp_path / "a.npz")


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made().save(tmp_path / "a.npz")
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        total = sum(len(archive.read(name)) for name in archive.namelist())
    monkeypatch.setattr("semcorr.imaging.flow._MAX_BYTES", total)
    Flow.load(path)
    monkeypatch.setattr("semcorr.imaging.flow._MAX_BYTES", total - 1)
    with pytest.raises(FlowError, match="It was not unpacked"):
        Flow.load(path)


# --- any file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.flo", "a.npz"])
def test_a_missing_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FlowError, match=rf"There is no flow file '.*{name}'"):
        Flow.load(tmp_path / name)


def test_another_suffix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match=r"got '.*a\.flow'\. Did you mean '\.flo'\?"):
        made().save(tmp_path / "a.flow")
    with pytest.raises(FlowError, match=r"saved in a \.flo or an \.npz file"):
        Flow.load(tmp_path / "a")


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.npz" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"a\.npz"):
        made().save(tmp_path / "a.npz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_a_file_that_claims_a_large_image_is_an_error_before_its_grid_is_made(tmp_path: Path) -> None:
    path = made().save(tmp_path / "flow.npz")
    with np.load(path) as archive:
        fields = {name: archive[name] for name in archive.files}
    for change, message in (
        ({"source_size": np.array([10_000, 10_000])}, "a displacement of shape"),
        ({"displacement": fields["displacement"].astype("S8")}, "displacement of type"),
        ({"confidence": fields["confidence"].astype("U8")}, "confidence of type"),
        ({"target_size": np.array([2**40, 2**40])}, "claims"),
    ):
        np.savez(path, **(fields | change))
        with pytest.raises(FlowError, match=message):
            Flow.load(path)


def test_a_file_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    path = made().save(tmp_path / "flow.npz")
    with np.load(path) as archive:
        fields = {name: archive[name] for name in archive.files}
    np.savez(path, **(fields | {"displacement": np.array([{"a": 1}], dtype=object)}))
    with pytest.raises(FlowError, match="allow_pickle"):
        Flow.load(path)
