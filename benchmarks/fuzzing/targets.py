"""Every reader of files that come from elsewhere, with what it is fed and how that is changed."""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL.Image
import torch

from benchmarks.fuzzing import corpus, mutate, networks
from benchmarks.fuzzing.of_networks import checkpoints
from benchmarks.fuzzing.of_regions import regions
from benchmarks.fuzzing.target import MEGAPIXELS, Target
from benchmarks.replay import read_record
from semcorr.cli.options import parse_settings
from semcorr.datasets import ap10k, cub, own, pf_pascal, pf_willow, spair
from semcorr.datasets.archive import unpack
from semcorr.datasets.base import Dataset
from semcorr.evaluation.metrics.keypoint_ap import score
from semcorr.evaluation.runs.folder import read_run
from semcorr.imaging.flow import Flow
from semcorr.imaging.geometry import Crop
from semcorr.imaging.image import load_image
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.keypoint_matches import read_keypoint_matches
from semcorr.matchers.prompt.latent_cache import CachedLatents, LatentCache
from semcorr.matchers.prompt.presets import preset
from semcorr.matchers.results import Matches, Query
from semcorr.matchers.wrappers.calibration import Calibration
from semcorr.settings import override
from semcorr.transfer import export
from semcorr.transfer.journal import Journal


def targets() -> list[Target]:
    """All readers."""
    return [*_images_and_annotations(), *_benchmarks(), *_archives(), *_results(), *regions(), *checkpoints()]


def _images_and_annotations() -> list[Target]:
    json_file = partial(Target, mutate=mutate.json_of, prepare=_write_images, file="file.json")
    load = partial(load_image, max_megapixels=MEGAPIXELS)
    return [
        Target(name="images", seeds=corpus.images, mutate=mutate.png_of, file="image", read=load, weight=3),
        json_file(name="COCO", seeds=corpus.coco, read=_annotations),
        json_file(name="Label Studio", seeds=corpus.label_studio, read=partial(_both_ways, "label-studio"), weight=2),
        Target(
            name="CVAT",
            seeds=corpus.cvat,
            mutate=mutate.xml_of,
            file="file.xml",
            read=partial(_both_ways, "cvat"),
            prepare=_write_images,
            weight=2,
        ),
        Target(
            name="dlib",
            seeds=corpus.dlib,
            mutate=mutate.xml_of,
            file="file.xml",
            read=partial(_both_ways, "dlib"),
            prepare=_write_images,
        ),
        Target(
            name="DeepLabCut: table",
            seeds=corpus.deeplabcut,
            mutate=mutate.table_of,
            file="file.csv",
            read=partial(_both_ways, "deeplabcut"),
            prepare=partial(_write_images, folder="labeled-data/day"),
        ),
        Target(
            name="DeepLabCut: configuration",
            seeds=corpus.deeplabcut_config,
            mutate=mutate.bytes_of,
            file="config.yaml",
            read=_annotations,
            prepare=_project,
            weight=0.5,
        ),
        Target(
            name="YOLO-pose: configuration",
            seeds=corpus.yolo_configuration,
            mutate=mutate.bytes_of,
            file="data.yaml",
            read=_annotations,
            prepare=_yolo,
        ),
        Target(
            name="YOLO-pose: labels",
            seeds=corpus.yolo_labels,
            mutate=mutate.table_of,
            file="labels/train/a.txt",
            read=lambda path: _annotations(path.parents[2] / "data.yaml"),
            prepare=_yolo,
        ),
        json_file(name="labelme", seeds=corpus.labelme, read=_annotations, weight=0.5),
        json_file(name="key-point matches", seeds=corpus.keypoint_matches, read=read_keypoint_matches, weight=0.3),
        Target(
            name="table of points",
            seeds=corpus.points_csv,
            mutate=mutate.table_of,
            file="file.csv",
            read=partial(_both_ways, "csv"),
            prepare=_write_images,
        ),
        json_file(name="key-points: found", seeds=lambda: corpus.coco()[:2], read=_score, prepare=_truth, weight=0.3),
    ]


def _benchmarks() -> list[Target]:
    benchmarks = [
        Target(
            name="SPair-71k: pair",
            seeds=corpus.spair_pair,
            mutate=mutate.json_of,
            file="PairAnnotation/test/pair.json",
            read=lambda path: _inside(spair.load(path.parents[2])),
            prepare=partial(_texts, {"Layout/large/test.txt": b"pair\n"}),
        ),
        Target(
            name="SPair-71k: list",
            seeds=lambda: (b"pair\npair\n",),
            mutate=mutate.any_of(mutate.table_of, mutate.bytes_of),
            file="Layout/large/test.txt",
            read=lambda path: _inside(spair.load(path.parents[2])),
            prepare=partial(_texts, {"PairAnnotation/test/pair.json": corpus.spair_pair()[0]}),
            weight=0.5,
        ),
        Target(
            name="AP-10K: pair",
            seeds=corpus.ap10k_pair,
            mutate=mutate.json_of,
            file="PairAnnotation/test/1:cat.json",
            read=lambda path: _inside(ap10k.load(path.parents[2])),
            prepare=partial(_texts, {"ImageAnnotation/cat/a.json": corpus.ap10k_annotation()[0]}),
        ),
        Target(
            name="AP-10K: annotation",
            seeds=corpus.ap10k_annotation,
            mutate=mutate.json_of,
            file="ImageAnnotation/cat/a.json",
            read=lambda path: _inside(ap10k.load(path.parents[2])),
            prepare=partial(_texts, {"PairAnnotation/test/1:cat.json": corpus.ap10k_pair()[0]}),
        ),
        Target(
            name="PF-WILLOW: table",
            seeds=corpus.willow_table,
            mutate=mutate.table_of,
            file="test_pairs_pf.csv",
            read=lambda path: _inside(pf_willow.load(path.parent)),
            prepare=partial(_write_images, folder="cat"),
        ),
        Target(
            name="PF-WILLOW: .mat",
            seeds=corpus.willow_mat,
            mutate=mutate.bytes_of,
            file="cat/a.mat",
            read=lambda path: _inside(pf_willow.load(path.parents[1])),
            prepare=partial(_write_images, folder="cat"),
            weight=2,
        ),
        Target(
            name="PF-PASCAL: table",
            seeds=corpus.pascal_table,
            mutate=mutate.table_of,
            file="test_pairs.csv",
            read=lambda path: _inside(pf_pascal.load(path.parent)),
            prepare=_write_images,
        ),
        Target(
            name="own: COCO",
            seeds=lambda: corpus.coco()[::2],  # predicted objects alone are no data set
            mutate=mutate.json_of,
            file="file.json",
            read=lambda path: _inside(own.load(path)),
            prepare=_write_images,
        ),
        Target(
            name="own: list",
            seeds=lambda: (b"a.png,b.png\nb.png,a.png\n", b"a.png b.png\n"),
            mutate=mutate.table_of,
            file="pairs.csv",
            read=lambda path: _inside(own.load(path.parent)),
            prepare=_own,
        ),
    ]
    tables = corpus.cub_tables()
    for name, seeds in tables.items():
        others = {other: content[0] for other, content in tables.items() if other != name}
        benchmarks.append(
            Target(
                name=f"CUB: {Path(name).stem}",
                seeds=lambda seeds=seeds: seeds,  # type: ignore[misc]
                mutate=mutate.table_of,
                file=name,
                read=_cub,
                prepare=partial(_cub_folder, others),
                weight=0.5,
            )
        )
    return benchmarks


def _archives() -> list[Target]:
    return [
        Target(
            name="archive: zip",
            seeds=lambda: corpus.archives()[0],
            mutate=mutate.zip_of,
            file="archive.part",
            read=_unpack,
        ),
        Target(
            name="archive: tar",
            seeds=lambda: corpus.archives()[1],
            mutate=mutate.tar_of,
            file="archive.part",
            read=_unpack,
        ),
    ]


def _results() -> list[Target]:
    tensors = partial(Target, mutate=mutate.safetensors_of, file="file.safetensors")
    json_file = partial(Target, mutate=mutate.json_of, file="file.json")
    return [
        tensors(name="query", seeds=corpus.query, read=_query, weight=2),
        tensors(name="matches", seeds=corpus.matches, read=_matches, weight=2),
        tensors(name="record", seeds=corpus.record, read=lambda path: read_record(networks.model(), path)),
        Target(
            name="latents",
            seeds=corpus.latent,
            mutate=mutate.safetensors_of,
            file="0-0-8-8.safetensors",
            read=_latent,
        ),
        Target(
            name="flow: .npz", seeds=lambda: corpus.flows()[0], mutate=mutate.zip_of, file="flow.npz", read=Flow.load
        ),
        Target(
            name="flow: .flo", seeds=lambda: corpus.flows()[1], mutate=mutate.bytes_of, file="flow.flo", read=Flow.load
        ),
        json_file(name="calibration", seeds=corpus.calibration, read=lambda path: str(Calibration.load(path))),
        Target(
            name="run: settings",
            seeds=corpus.run_header,
            mutate=mutate.json_of,
            file="run.json",
            read=lambda path: read_run(path.parent),
            prepare=partial(_texts, {"records/1-of-1.0.jsonl": corpus.pair_records()[0]}),
        ),
        Target(
            name="run: records",
            seeds=corpus.pair_records,
            mutate=mutate.lines_of,
            file="records/1-of-1.0.jsonl",
            read=lambda path: [record.to_json() for record in read_run(path.parents[1]).records],
            prepare=partial(_texts, {"run.json": corpus.run_header()[0]}),
        ),
        Target(
            name="transfer: journal",
            seeds=corpus.transfer_records,
            mutate=mutate.lines_of,
            file="records/1-of-1.0.jsonl",
            read=_journal,
            weight=0.5,
        ),
        Target(
            name="transfer: head",
            seeds=_head,
            mutate=mutate.json_of,
            file="transfer.json",
            read=lambda path: Journal(path.parent, {"a": 1}),
            weight=0.3,
        ),
        json_file(name="settings", seeds=corpus.settings, read=_settings),
    ]


def _head() -> Sequence[bytes]:
    with TemporaryDirectory() as folder:
        Journal(Path(folder), {"a": 1})
        return ((Path(folder) / "transfer.json").read_bytes(),)


def _write_images(root: Path, folder: str = ".") -> None:
    for name in ("a.png", "b.png", "c.png"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (12, 9), "green").save(root / folder / name)
        if folder == "cat" and name == "b.png":
            (root / folder / "b.mat").write_bytes(corpus.willow_mat()[0])


def _texts(files: dict[str, bytes], root: Path) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def _truth(root: Path) -> None:
    _texts({"truth/truth.json": corpus.coco()[0]}, root)


def _own(root: Path) -> None:
    _write_images(root)
    _texts({"file.json": corpus.coco()[0]}, root)


def _project(root: Path) -> None:
    _write_images(root, "labeled-data/day")
    _texts({"labeled-data/day/CollectedData_me.csv": corpus.deeplabcut()[0]}, root)


def _yolo(root: Path) -> None:
    _write_images(root, "images/train")
    labels = {"labels/train/a.txt": corpus.yolo_labels()[0], "list.txt": b"./images/train/b.png\n"}
    _texts({"data.yaml": corpus.yolo_configuration()[0], **labels}, root)


def _cub_folder(others: dict[str, bytes], root: Path) -> None:
    _texts(others, root)
    _write_images(root, "images/001.cat")


def _inside(dataset: Dataset) -> None:
    _below(dataset.root, [image.path for pair in dataset.pairs for image in (pair.source, pair.target)])


def _annotations(path: Path) -> None:
    _below(path.parent, [image.path for image in read_annotations(path).images])


def _both_ways(name: str, path: Path) -> None:
    """Read annotations, and write them again in the same format with something predicted for every object."""
    known = read_annotations(path)
    _below(path.parent, [image.path for image in known.images])
    records = [
        TransferRecord(
            file=image.file,
            path=image.path,
            size=image.size or (12, 9),
            objects=tuple(
                PredictedObject(
                    category=one.category,
                    names=(names := known.categories[one.category].keypoints),
                    points=np.ones((len(names), 2)),
                    confidence=np.ones(len(names)),
                    box=one.box,
                    id=one.id,
                )
                for one in image.instances
            ),
        )
        for image in known.images
    ]
    with TemporaryDirectory() as folder:
        file = export.paths_of(Path(folder) / f"out{path.suffix}", (name,))[name]
        export.write(name, file, known, lambda: records, min_confidence=0.5, info={"method": "dift"})


def _below(root: Path, paths: Sequence[Path]) -> None:
    for path in paths:
        if not Path(os.path.normpath(path)).is_relative_to(root):
            raise AssertionError(f"an image outside of its folder: {path}")


def _score(path: Path) -> None:
    truth = path.parent / "truth" / "truth.json"
    score(path, truth)


def _cub(path: Path) -> None:
    root = path.parent.parent if path.parent.name == "parts" else path.parent
    _inside(cub.load(root))
    _inside(cub.load(root, setting="asic"))


def _unpack(path: Path) -> None:
    """Unpack into a folder; what lies outside of it then must have been there before."""
    before = sorted(path.parent.iterdir())
    with TemporaryDirectory(dir=path.parent) as folder:
        unpack(path, Path(folder))
        if any(one.is_symlink() for one in Path(folder).rglob("*")):
            raise AssertionError("a link was unpacked")
    if sorted(path.parent.iterdir()) != before:
        raise AssertionError("something was unpacked beside the folder")


def _query(path: Path) -> None:
    query = Query.load(path)
    query.take([0] if len(query.points) else [])


def _matches(path: Path) -> None:
    Matches.load(path).to_dict()


def _latent(path: Path) -> None:
    latent = CachedLatents(LatentCache(path.parent), path.parent, (4, 8, 8)).get(Crop(left=0, top=0, width=8, height=8))
    if latent is not None and (latent.shape != (4, 8, 8) or latent.dtype != torch.float32):
        raise AssertionError(f"a latent of {latent.dtype} {tuple(latent.shape)}")


def _journal(path: Path) -> None:
    with Journal(path.parents[1], {"a": 1}).open():
        pass
    for extra in (path.parents[1] / "records").glob("*.jsonl"):
        if extra != path:
            extra.unlink()


def _settings(path: Path) -> None:
    try:
        texts: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        texts = [f"rounds={path.read_bytes().decode('utf-8', 'replace')}"]
    override(
        preset("paper"), **parse_settings([str(text) for text in texts] if isinstance(texts, list) else [str(texts)])
    )
