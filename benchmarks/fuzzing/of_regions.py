"""Readers of masks, regions, collections and discovered key-points."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import PIL.Image
import torch

from benchmarks.fuzzing import mutate, networks
from benchmarks.fuzzing.corpus import Files
from benchmarks.fuzzing.target import MEGAPIXELS, Target
from semcorr.imaging.image import load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.imaging.masks import encode_rle
from semcorr.keypoints.coco.masks import read_label_map, region_entry
from semcorr.matchers.base import ModelIdentity
from semcorr.matchers.collection.collection import Collection
from semcorr.matchers.collection.folder import HEADER, RESULT, CollectionFolder, ImageEntry
from semcorr.matchers.collection.network import CanonicalNetwork
from semcorr.matchers.collection.settings import CollectionSettings
from semcorr.matchers.features.dift import DiftMatcher, published
from semcorr.matchers.prompt.discovery import KeypointTokens, settings_for
from semcorr.matchers.regions.refine import regions_of
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.settings import override
from semcorr.transfer.region_files import RegionJournal, RegionRecord

_SIZE = (12, 9)
_LABELS = np.tile(np.arange(4, dtype=np.uint8), (9, 3))
_NAMES = {1: "head", 2: "tail", 3: "leg"}


def regions() -> list[Target]:
    """All of them."""
    tensors = partial(Target, mutate=mutate.safetensors_of, file="file.safetensors")
    return [
        Target(name="label map", seeds=_label_maps, mutate=mutate.png_of, file="mask.png", read=_label_map),
        Target(
            name="COCO: masks",
            seeds=_coco_masks,
            mutate=mutate.json_of,
            file="file.json",
            read=lambda path: read_label_map(path, "a.png", _SIZE).check(_SIZE),
        ),
        tensors(name="region query", seeds=lambda: (_saved(_query().save),), read=_find, weight=0.3),
        tensors(name="regions", seeds=lambda: (_saved(_regions().save),), read=_read_regions),
        Target(
            name="regions: journal",
            seeds=_region_records,
            mutate=mutate.lines_of,
            file="records/1-of-1.0.jsonl",
            read=_region_journal,
            weight=0.3,
        ),
        tensors(name="key-point tokens", seeds=_tokens, read=KeypointTokens.load),
        *(
            Target(
                name=f"collection: {Path(name).suffix}",
                seeds=lambda name=name: (_collection()[name],),  # type: ignore[misc]
                mutate=mutation,
                file=name,
                read=_collection_of,
                prepare=partial(_write_collection, but=name),
                weight=0.3,
            )
            for name, mutation in ((HEADER, mutate.json_of), (RESULT, mutate.safetensors_of))
        ),
    ]


def _saved(save: Callable[[Path], object]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        save(path)
        return path.read_bytes()


def _label_maps() -> Files:
    """Indexed with names, grey, of 16 bits, black and white."""
    plain = PIL.Image.fromarray(_LABELS)
    made = [_saved(LabelMap(labels=_LABELS, names=_NAMES).save)]
    for image in (plain, plain.convert("I;16"), PIL.Image.fromarray(_LABELS > 1)):
        stream = io.BytesIO()
        image.save(stream, format="PNG")
        made.append(stream.getvalue())
    return tuple(made)


def _label_map(path: Path) -> None:
    read = LabelMap.load(path, max_megapixels=MEGAPIXELS)
    read.check(read.size)


def _coco_masks() -> Files:
    """Polygons, RLE as text and as numbers, and a crowd."""
    rle = encode_rle(_LABELS == 1)
    shapes = [[[1, 1, 10.5, 1, 10.5, 8]], rle, {"size": [9, 12], "counts": [50, 30, 28]}, rle]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 12, "height": 9}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 7, "name": "head"}, {"id": 8, "name": "tail"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 7 + number % 2, "segmentation": shape, "iscrowd": number // 3}
            for number, shape in enumerate(shapes)
        ],
    }
    return (json.dumps(document).encode(),)


@cache
def _matcher() -> DiftMatcher:
    return DiftMatcher(networks.model(), override(published("sd1"), samples=1, prompt=None, resolution=16))


@cache
def _query() -> RegionQuery:
    image = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    settings = RegionSettings(grid=4, neighbours=2)
    return _matcher().describe_regions(image, LabelMap(labels=_LABELS, names=_NAMES), settings=settings)


def _regions() -> Regions:
    scores = torch.rand(4, 3, 4, generator=torch.Generator().manual_seed(0))
    return regions_of(scores, load_image(np.zeros((9, 12, 3), dtype=np.uint8)), _NAMES, RegionSettings())


def _find(path: Path) -> None:
    query = replace(
        RegionQuery.load(path), settings=_query().settings
    )  # others may be slow, and are no reader's matter
    _matcher().locate_regions(query, np.zeros((9, 12, 3), dtype=np.uint8)).to_dict()


def _read_regions(path: Path) -> None:
    read = Regions.load(path)
    read.to_dict()
    for label in read.names:
        read.mask(label)
    read.label_map()


def _region_records() -> Files:
    entries = tuple(region_entry(label, np.equal(_LABELS, label), 0.5) for label in (1, 2))
    records = [
        RegionRecord(file="a.png", path=Path("a.png"), size=_SIZE, entries=entries, labels="a.png"),
        RegionRecord(file="b.png", path=Path("b.png"), error="broken"),
    ]
    return ("\n".join(record.to_json() for record in records).encode(),)


def _region_journal(path: Path) -> None:
    with RegionJournal(path.parents[1], {"a": 1}).open():
        pass
    for extra in (path.parents[1] / "records").glob("*.jsonl"):
        if extra != path:
            extra.unlink()


def _tokens() -> Files:
    made = KeypointTokens(
        model=ModelIdentity(model_id="toy", model_revision=None, model_fingerprint="f" * 64),
        settings=settings_for("toy"),
        names=("beak", "tail"),
        tokens=(3, 1),
        context=np.zeros((1, 4, 3), dtype=np.float32),
        deviations=np.array([0.1, 0.2]),
    )
    return (_saved(made.save),)


@cache
def _collection() -> dict[str, bytes]:
    """The files of a collection of three images, whose network is not trained."""
    grid, dim, width = 8, 3, 4
    settings = CollectionSettings(grid=grid, dim=dim, width=width)
    images = [ImageEntry(path=f"{name}.png", sha256=name * 64, size=_SIZE) for name in "abc"]
    identity = {
        "features": {"method": "dift", **_matcher().identity()},
        "settings": settings.to_dict(),
        "images": [one.sha256 for one in images],
        "masks": None,
    }
    with TemporaryDirectory() as folder:
        store = CollectionFolder(Path(folder), identity, {"method": "dift", "model": "toy"}, images)
        network = CanonicalNetwork(dim, width).state_dict()
        arrays = {
            "features": np.zeros((3, dim, grid, grid), dtype=np.float32),
            "coordinates": np.zeros((3, 2, grid, grid), dtype=np.float32),
            "inside": np.ones((3, grid, grid), dtype=bool),
            "mean": np.zeros(5, dtype=np.float32),
            "components": np.zeros((dim, 5), dtype=np.float32),
            **{f"network.{name}": value.numpy() for name, value in network.items()},
        }
        store.finish({"matches": 1, "foreground": 1.0, "losses": {}}, arrays)
        return {name: (Path(folder) / name).read_bytes() for name in (HEADER, RESULT)}


def _write_collection(root: Path, but: str) -> None:
    for name, content in _collection().items():
        if name != but:
            (root / name).write_bytes(content)


def _collection_of(path: Path) -> None:
    for _, mapped in Collection.from_pretrained(path.parent).images:
        mapped.coordinates.mean()
