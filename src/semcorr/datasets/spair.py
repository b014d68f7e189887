"""SPair-71k, and SPair-U, which has the same layout."""

from pathlib import Path
from typing import Any

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.imaging.geometry import Box, pixel_points
from semcorr.keypoints.file_reader import Folder, open_folder
from semcorr.progress import Progress

_TITLES = {"spair": "SPair-71k", "spair-u": "SPair-U"}
_ADVICE = {
    "spair": "See what else is wrong: semcorr data check spair FOLDER. Get it: semcorr data download spair.",
    "spair-u": "Get SPair-U from its authors' page; its layout is SPair-71k's.",
}
_FLAGS = {
    "viewpoint_variation": "viewpoint",
    "scale_variation": "scale",
    "truncation": "truncation",
    "occlusion": "occlusion",
    "mirror": "mirror",
}


def load(data: Path, split: str = "test", *, name: str = "spair", progress: Progress | None = None) -> Dataset:
    """Read the pairs of ``Layout/large/<split>.txt``, in its order; no picture is opened.

    Point names are the ids of ``kps_ids``. Flags: viewpoint, scale, truncation, occlusion, mirror.

    Args:
        data: The benchmark's folder, or the one that it lies in.
        split: "trn", "val" or "test".
        name: "spair" or "spair-u".
        progress: Called as ``("read", pairs done, pairs in all)``.

    Raises:
        DatasetError: the folder is something else, or a file is missing or broken.
    """
    title = _TITLES[name]
    folder = open_folder(
        data,
        [title],
        lambda root: (root / "Layout" / "large").is_dir(),
        title=title,
        wanted="the folder Layout/large",
        advice=_ADVICE[name],
    )
    lines = folder.lines(folder.root / "Layout" / "large" / f"{split}.txt")
    pairs = []
    for number, line in enumerate(lines):
        path = folder.below("PairAnnotation", split, f"{line}.json")
        pairs.append(read_pair(folder, path, folder.json(path)))
        if progress and number % 500 == 0:
            progress("read", number, len(lines))
    if not pairs:
        raise folder.wrong(f"expected pairs in {f'Layout/large/{split}.txt'!r}, got none.")
    return Dataset(name=name, split=split, pairs=pairs, threshold="target-box", root=folder.root)


def read_pair(folder: Folder, path: Path, record: dict[str, Any]) -> Pair:
    """The pair that one file of ``PairAnnotation`` holds.

    Raises:
        DatasetError: a field is missing or broken.
    """
    category = folder.field(record, "category", str, path)
    names = tuple(map(str, folder.field(record, "kps_ids", list, path)))
    source, target = (_side(folder, path, record, side, category) for side in ("src", "trg"))
    if not len(names) == len(source.points) == len(target.points):
        raise folder.wrong(
            f"expected as many src_kps and trg_kps as kps_ids in {str(path)!r}, "
            f"got {len(source.points)}, {len(target.points)} and {len(names)}."
        )
    flags = {flag: record[key] for key, flag in _FLAGS.items() if isinstance(record.get(key), int)}
    return Pair(id=path.stem, category=category, source=source, target=target, names=names, flags=flags)


def _side(folder: Folder, path: Path, record: dict[str, Any], side: str, category: str) -> PairImage:
    size = folder.size(folder.field(record, f"{side}_imsize", list, path)[:2], f"{side}_imsize", path)
    x0, y0, x1, y1 = folder.numbers(folder.field(record, f"{side}_bndbox", list, path), 4, f"{side}_bndbox", path)
    # The raw numbers: the field's threshold is the longer of their differences.
    box: Box = (x0, y0, x1, y1)
    points = folder.points(folder.field(record, f"{side}_kps", list, path), f"{side}_kps", path)
    picture = folder.below("JPEGImages", category, folder.field(record, f"{side}_imname", str, path))
    return PairImage(path=picture, size=size, points=pixel_points(points, size), box=box)
