"""Small valid files of every kind, made by what writes them for real; tables and texts as they are published."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL.Image
import torch
from safetensors.numpy import save

from semcorr.datasets.ap10k import POINTS
from semcorr.evaluation.runs.records import PairRecord
from semcorr.imaging.domain import Domain
from semcorr.imaging.flow import Flow
from semcorr.imaging.geometry import Crop
from semcorr.imaging.image import known_formats
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.matchers.prompt.latent_cache import CachedLatents, LatentCache
from semcorr.matchers.results import Diagnostics, Matches, Query
from semcorr.matchers.wrappers.calibration import Calibration

Files = tuple[bytes, ...]

_SIDE = (12, 9)
_NAMES = ["nose", "left ear", "right ear"]


def images() -> Files:
    """One image in every format that people have, in several modes, with and without EXIF."""
    pixels = np.random.default_rng(3).integers(0, 256, (_SIDE[1], _SIDE[0], 3), dtype=np.uint8)
    image = PIL.Image.fromarray(pixels)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "an image"
    animated = {"save_all": True, "append_images": [image.rotate(90, expand=False)]}
    made: list[tuple[PIL.Image.Image, str, dict[str, Any]]] = [
        (image, "PNG", {"exif": exif}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (image.convert("I;16"), "PNG", {}),
        (image.convert("RGBA"), "PNG", {"optimize": True}),
        (image, "JPEG", {"exif": exif}),
        (image.convert("CMYK"), "JPEG", {"progressive": True}),
        (image, "MPO", animated),
        (image, "GIF", animated),
        (image, "BMP", {}),
        (image.convert("1"), "BMP", {}),
        (image, "TIFF", {"exif": exif}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (PIL.Image.fromarray(pixels[..., 0] / np.float32(255)), "TIFF", {"compression": "tiff_adobe_deflate"}),
        (image, "WEBP", {"exif": exif}),
        (image, "WEBP", {"lossless": True, **animated}),
        (image, "PPM", {}),
        (image.convert("L"), "JPEG2000", {}),
    ]
    if "AVIF" in known_formats():
        made.append((image, "AVIF", {"exif": exif}))
    return tuple(_saved(*one) for one in made)


def coco() -> Files:
    """Images, categories and annotations, and predicted key-points with their confidences."""
    objects = [
        {"id": 1, "image_id": 1, "category_id": 7, "keypoints": [1, 2, 2, 3, 4, 2, 5, 6, 1], "bbox": [0, 1, 10, 7]},
        {"id": 2, "image_id": 2, "category_id": 7, "keypoints": [7, 8, 2, 0, 0, 0, 9, 8, 2], "bbox": [5, 5, 5, 3]},
        {"id": 3, "image_id": 2, "category_id": 8, "bbox": [0, 0, 1, 1], "iscrowd": 1, "area": 4.5},
    ]
    document = {
        "info": {"year": 2024},
        "images": [
            {"id": 1, "file_name": "a.png", "width": 12, "height": 9},
            {"id": 2, "file_name": "b.png"},
        ],
        "categories": [
            {"id": 7, "name": "cat", "keypoints": _NAMES, "skeleton": [[1, 2], [1, 3]], "supercategory": "cat"},
            {"id": 8, "name": "dog", "keypoints": _NAMES[:1]},
        ],
        "annotations": objects,
    }
    predicted = json.loads(json.dumps(document))
    predicted["annotations"][0] |= {"keypoints_found": [1, 2, 0.9, None, None, 0.0, 5, 6, 0.2], "score": 0.55}
    other = json.loads(json.dumps(document))  # as other tools write them
    other["images"] = [
        {"id": "1", "file_name": "C:\\data\\A.PNG", "width": "12", "height": 9.0},
        {"id": "2", "file_name": "file:///data/b.png"},
        {"id": "3", "file_name": "file:///data/b.png"},
    ]
    other["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})
    other["annotations"] = [
        {**one, "image_id": str(one["image_id"]), "iscrowd": "0", "semcorr": {"predicted": True, "accepted": True}}
        for one in objects
    ]
    return _json(document), _json(predicted), _json(other)


def label_studio() -> Files:
    """A project's export, a single task, an annotation with its task and JSON-MIN, with every kind of region."""
    sides = {"original_width": 12, "original_height": 9, "image_rotation": 0}
    names = {"from_name": "label", "to_name": "image"}
    box = {"x": 5, "y": 5, "width": 50, "height": 60, "rotation": 10, "rectanglelabels": ["cat"]}
    point = {"x": 10.5, "y": 20, "width": 0.75, "keypointlabels": ["nose"]}
    oval = {"x": 80, "y": 80, "radiusX": 9, "radiusY": 5, "rotation": 5, "ellipselabels": ["dog"]}
    result = [
        {**sides, **names, "id": "r", "type": "rectanglelabels", "value": box},
        {**sides, **names, "id": "p", "type": "keypointlabels", "value": point, "parentID": "r"},
        {**sides, **names, "id": "q", "type": "keypointlabels", "value": {**point, "keypointlabels": ["left ear"]}},
    ]
    more = [
        {**sides, **names, "id": "e", "type": "ellipselabels", "value": oval},
        {**sides, **names, "id": "k", "type": "keypoint", "value": {"x": 80, "y": 80, "width": 1}},
        {**sides, **names, "id": "k", "type": "labels", "value": {"x": 80, "y": 80, "width": 1, "labels": ["nose"]}},
        {"type": "relation", "from_id": "k", "to_id": "e"},
    ]
    addresses = (
        "/data/upload/1/0a1b2c3d-a.png",
        "/data/local-files/?d=folder/b.png",
        "http://host/c.png?x=1",
        "s3://d",
    )
    predictions = [{"model_version": "semcorr dift", "score": 0.5, "result": [{**one, "score": 0.5} for one in result]}]
    tasks = [
        {
            "id": number,
            "data": {"image": address},
            "annotations": [{"result": regions, "was_cancelled": False}],
            "predictions": predictions,
        }
        for number, (address, regions) in enumerate(zip(addresses, (result, result[:1], more, []), strict=True))
    ]
    stored = {"id": 1, "result": result, "task": {"id": 2, "data": {"image": "a.png", "text": "x"}}}
    small = {"image": "a.png", "id": 1, "kp": [{**point, **sides}], "box": [{**box, **sides}], "annotator": 1}
    return _json(tasks), _json(tasks[2]), _json(stored), _json([small])


def cvat() -> Files:
    """Images with a skeleton, a turned box, points and others."""
    points = "".join(
        f'<points label="{name}" source="manual" outside="{number // 2}" occluded="1" points="{number + 1}.5,2"/>'
        for number, name in enumerate(_NAMES)
    )
    labels = "".join(f"<label><name>{name}</name><type>points</type><parent>cat</parent></label>" for name in _NAMES)
    edge = "&lt;line data-type=&quot;edge&quot; data-node-from=&quot;1&quot; data-node-to=&quot;2&quot;/&gt;"
    box = '<box label="cat" source="manual" xtl="0.5" ytl="1" xbr="9" ybr="8" rotation="15.0" group_id="1"/>'
    text = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>t</name><labels>
<label><name>cat</name><type>skeleton</type><svg>{edge}</svg></label>{labels}</labels></task></meta>
<image id="0" name="a.png" width="12" height="9">
<skeleton label="cat" source="auto" score="0.5" group_id="1">{points}</skeleton>{box}</image>
<image id="1" name="folder/b.png" width="12" height="9">{box}<points label="nose" points="3,4" source="manual"/></image>
<image id="2" name="c.png" width="12" height="9"><polygon label="cat" points="1,2;3,4;5,6"/><tag label="x"/></image>
</annotations>"""
    return (text.encode(),)


def dlib() -> Files:
    """Boxes with parts, labels and marks, boxes without, and one to be ignored."""
    parts = "".join(f"<part name='{number:02}' x='{number + 2}' y='{number + 3}'/>" for number in range(3))
    box = "<box top='1' left='2' width='9' height='6'"
    text = f"""<?xml version='1.0' encoding='ISO-8859-1'?>
<dataset><name>t</name><comment/><images>
<image file='a.png' width='12' height='9'>{box}>{parts}</box>{box}/></image>
<image file='folder/b.png'>{box} ignore='1'>{parts}</box>
{box} semcorr='predicted' detection_score='0.5'><label>cat</label>{parts}</box></image>
</images></dataset>"""
    return (text.encode(),)


def deeplabcut() -> Files:
    """Tables of one animal and of several, with paths in one column and in three, and of predictions."""
    return (
        b"scorer,me,me,me,me\nbodyparts,nose,nose,ear,ear\ncoords,x,y,x,y\n"
        b"labeled-data/day/a.png,1.5,2,,\nC:\\x\\labeled-data\\day\\b.png,3,4,5,6\n",
        b"scorer,,,me,me,me,me\nindividuals,,,m1,m1,single,single\nbodyparts,,,nose,nose,ear,ear\n"
        b"coords,,,x,y,x,y\nlabeled-data,day,a.png,1,2,NaN,\nlabeled-data,day,b.png,3,4,5,6\n",
        b"scorer,DLC,DLC,DLC\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\na.png,1.5,2,0.5\nb.png,3,4,1\n",
    )


def deeplabcut_config() -> Files:
    """The configurations of a project with one animal and of one with several."""
    return (
        b"Task: t\nscorer: me\nvideo_sets:\n  /v/day.avi:\n    crop: 0, 12, 0, 9\nbodyparts:\n- nose\n- ear\n"
        b"skeleton:\n- - nose\n  - ear\n",
        b"scorer: me\nmultianimalproject: true\nbodyparts: MULTI!\nmultianimalbodyparts: [nose]\n"
        b"uniquebodyparts: [ear]\nindividuals: [m1]\nskeleton: []\n",
    )


def yolo_configuration() -> Files:
    """Configurations of YOLO-pose data sets, of this package's own and of other tools' layout."""
    return (
        b"train: images/train\nval: images/train\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\nnames: {0: cat, 1: dog}\n"
        b"kpt_names:\n  0: [left ear, right ear]\n  1: [left ear, right ear]\n",
        b"path: ../sets\ntrain: ../images/train\nvalid: [images/train, list.txt]\nkpt_shape: [2, 3]\nnc: 2\n",
    )


def yolo_labels() -> Files:
    """Labels of one image, with a point that is not annotated and one outside."""
    return (b"0 0.5 0.5 0.4 0.6 0.25 0.5 2 0 0 0\n1 0.1 0.1 0.1 0.1 -0.2 0.1 1 0.1 0.1 2\n",)


def labelme() -> Files:
    """Files of labelme's, and of X-AnyLabeling's with groups and corners."""
    shapes = (
        '[{"label": "cat", "points": [[1, 1], [9, 8]], "shape_type": "rectangle", "group_id": 1},'
        '{"label": "ear", "points": [[2.5, 3]], "shape_type": "point", "group_id": 1, "difficult": true},'
        '{"label": "cat", "points": [[1, 1], [4, 1], [4, 4], [1, 4]], "shape_type": "rotation", "group_id": null},'
        '{"label": "ear", "points": [[2, 2]], "shape_type": "point"}]'
    )
    text = f'{{"shapes": {shapes}, "imagePath": "a.png", "imageData": null, "imageHeight": 9, "imageWidth": 12}}'
    return (text.encode(),)


def keypoint_matches() -> Files:
    """Records of transformers' key-point matching pipeline, of one pair of images and of two."""
    record = b'{"keypoint_image_0": {"x": 1, "y": 2.5}, "keypoint_image_1": {"x": 3, "y": 4}, "score": 0.5}'
    return b"[" + record + b"]", b"[[" + record + b"], [" + record + b", " + record + b"]]"


def points_csv() -> Files:
    """Tables of points, with and without categories, and with every column."""
    return (
        b"image,name,x,y\na.png,nose,1.5,2\na.png,ear,3,4\nb.png,nose,5,6\n",
        b'category,image,name,x,y,more\ncat,a.png,"left, ear",1,2,\ncat,b.png,nose,3,4,x\n',
        b"image,category,object,name,x,y,visible,confidence,predicted,score\n"
        b"a.png,cat,1,nose,1.5,2,1,,0,\na.png,cat,2,nose,5,6,2,0.9,1,0.9\nb.png,cat,1,nose,,,0,0.1,1,0.1\n",
    )


def spair_pair() -> Files:
    """A pair as SPair-71k has it."""
    return (
        _json(
            {
                "pair_id": 1,
                "filename": "1-a-b:cat",
                "category": "cat",
                "kps_ids": ["0", "7"],
                **{f"{side}_imname": "a.png" for side in ("src", "trg")},
                **{f"{side}_imsize": [12, 9, 3] for side in ("src", "trg")},
                **{f"{side}_bndbox": [1, 2, 10, 8] for side in ("src", "trg")},
                **{f"{side}_kps": [[2, 3], [4, 5]] for side in ("src", "trg")},
                **dict.fromkeys(("mirror", "viewpoint_variation", "scale_variation", "truncation", "occlusion"), 0),
            }
        ),
    )


def ap10k_pair() -> Files:
    """A pair that names two annotations, and one of SPair-71k's layout."""
    sides = {f"{side}_json_path": "x/ImageAnnotation/cat/a.json" for side in ("src", "trg")}
    return (_json(sides), *spair_pair())


def ap10k_annotation() -> Files:
    """One annotated image."""
    keypoints = [number for point in range(len(POINTS)) for number in (point % 12, point % 9, point % 3)]
    return (_json({"bbox": [1, 2, 10, 6], "width": 12, "height": 9, "keypoints": keypoints}),)


def willow_table() -> Files:
    """Two pairs of ten points."""
    numbers = ",".join(str(number / 4) for number in range(40))
    return (f"imageA,imageB\ncat/a.png,cat/b.png,{numbers}\npf-willow/cat/b.png,cat/a.png,{numbers}\n".encode(),)


def willow_mat() -> Files:
    """Ten points in MATLAB's files, compressed and not, as scipy writes them."""
    import scipy.io

    points = np.arange(20.0).reshape(2, 10)
    made = []
    for options in ({}, {"do_compression": True}):
        stream = io.BytesIO()
        scipy.io.savemat(stream, {"pts_coord": points, **({} if options else {"other": {"a": "b"}})}, **options)
        made.append(stream.getvalue())
    return tuple(made)


def pascal_table() -> Files:
    """Two pairs, the second of one point."""
    return (b"source,target,class,XA,YA,XB,YB\na.png,b.png,1,1.5;3,2;4,5;6,8;9\nP/b.png,a.png,20,1,2,3,4\n",)


def cub_tables() -> dict[str, Files]:
    """Two birds of one class, by the name of each table."""
    parts = "".join(f"{bird} {part} {part % 12}.0 {part % 9}.0 1\n" for bird in (1, 2) for part in range(1, 16))
    return {
        "images.txt": (b"1 001.cat/a.png\n2 001.cat/b.png\n",),
        "image_class_labels.txt": (b"1 1\n2 1\n",),
        "train_test_split.txt": (b"1 0\n2 0\n",),
        "bounding_boxes.txt": (b"1 1.0 1.0 8.0 7.0\n2 2.0 2.0 8.0 7.0\n",),
        "parts/part_locs.txt": (parts.encode(),),
        "parts/parts.txt": (b"1 back\n2 left eye\n",),
    }


def archives() -> tuple[Files, Files]:
    """Zip and tar archives of two files in a folder."""
    zipped, tarred, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("folder/a.txt", "folder/b.txt"):
            archive.writestr(name, "text " * 50)
    for stream, mode in ((tarred, "w"), (packed, "w:gz")):
        with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
            for name in ("folder/a.txt", f"folder/{'long' * 40}.txt"):
                info = tarfile.TarInfo(name)
                info.size = 5
                tar.addfile(info, io.BytesIO(b"text\n"))
    return (zipped.getvalue(),), (tarred.getvalue(), packed.getvalue())


def query() -> Files:
    """Two points as a method describes them."""
    made = Query(
        method="prompt",
        model_id="toy",
        model_revision=None,
        model_fingerprint="f" * 64,
        settings={"rounds": 1, "layers": ["up/4"]},
        points=np.array([[1.5, 2.5], [3, 4]]),
        names=("nose", "ear"),
        image_size=_SIDE,
        image_sha256="0" * 64,
        tensors={"embeddings": np.ones((2, 1, 3, 4), dtype=np.float32), "losses": np.zeros((2, 1, 5))},
        shared={"context": np.ones(3, dtype=np.float16)},
    )
    return (_written(made.save, "query.safetensors"),)


def matches() -> Files:
    """Two points found by one embedding in two layers."""
    points = np.array([[1.5, 2.5], [3, 4]])
    made = Matches(
        points=points,
        confidence=np.array([0.5, 0.25]),
        heatmaps=np.ones((2, 4, 4), dtype=np.float32) / 16,
        image_size=_SIDE,
        image_sha256="0" * 64,
        query_points=points,
        names=None,
        diagnostics=Diagnostics(
            layer_names=("up/4", "up/5"),
            layer_points=points[:, None].repeat(2, axis=1),
            round_points=points[:, None],
        ),
    )
    return (_written(made.save, "matches.safetensors"),)


def flows() -> tuple[Files, Files]:
    """A dense match, as ``.npz`` and as ``.flo``."""
    made = Flow(
        displacement=np.ones((9, 12, 2)),
        confidence=np.full((9, 12), 0.5),
        source_size=_SIDE,
        target_size=(20, 10),
    )
    return (_written(made.save, "flow.npz"),), (_written(made.save, "flow.flo"),)


def record() -> Files:
    """Of a run of the method on :func:`benchmarks.fuzzing.networks.model`: a point, a round, a step, four crops."""
    random = np.random.default_rng(0)
    numbers = {
        "upsample_res": 8,
        "num_steps": 1,
        "noise_level": -8,
        "layers": [0],
        "lr": 0.01,
        "num_opt_iterations": 1,
        "sigma": 1.0,
        "crop_percent": 93.2,
        "num_iterations": 4,
    }
    shapes = {"context_init": (1, 77, 8), "noise": (5, 1, 4, 8, 8), "contexts": (1, 1, 1, 77, 8), "noisy": (1, 4, 8, 8)}
    tensors: dict[str, np.ndarray] = {
        name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
    }
    tensors |= {"src_kps": np.array([[2.0], [3.0]], dtype=np.float32), "crop": np.array([[0, 0, 7, 7]] * 5)}
    tensors |= {"loss": np.zeros(1), "maps_every_8th": np.zeros((1, 1, 1, 1)), "argmax_per_map": np.zeros((1, 1))}
    tensors |= {"source_4": np.zeros((4, 4, 3), dtype=np.uint8), "target_4": np.zeros((4, 4, 3), dtype=np.uint8)}
    metadata = {"hyperparameters": json.dumps(numbers), "timesteps": json.dumps(list(range(980, -1, -20)))}
    return (save(tensors, metadata=metadata),)


def latent() -> Files:
    """A crop's, as the cache keeps it."""
    with TemporaryDirectory() as folder:
        kept = CachedLatents(LatentCache(folder), Path(folder), (4, 8, 8))
        kept.put(Crop(left=0, top=0, width=8, height=8), torch.zeros(4, 8, 8))
        return ((Path(folder) / "0-0-8-8.safetensors").read_bytes(),)


def calibration() -> Files:
    """A curve of three corners."""
    made = Calibration(
        method="dift",
        key="0" * 16,
        confidence=(0.1, 0.4, 0.9),
        probability=(0.0, 0.5, 1.0),
        source={"dataset": "toy", "split": "val", "points": 1234, "model": "toy"},
        domain=Domain(images=12, ranges={"flat": (0.5, 0.9), "soft": (0.0, 0.1)}),
    )
    return (_written(made.save, "calibration.json"),)


def run_header() -> Files:
    """What a run's results depend on."""
    settings = {"dataset": {"name": "toy", "split": "test", "root": "x"}, "method": {"name": "prompt", "seed": 0}}
    return (_json({"format": 1, "hash": "0" * 64, "pairs": 2, "settings": settings}),)


def pair_records() -> Files:
    """Two finished pairs, one that failed."""
    points = np.array([[1.5, 2.5], [3, 4]])
    lines = []
    for index, error in enumerate(("", "", "broken")):
        predicted = np.zeros((0, 2)) if error else points
        made = PairRecord(
            index=index,
            pair=f"pair-{index}",
            category="cat",
            names=("a", "b"),
            flags={"viewpoint": 1, "pose": "Left"},
            source="a.png",
            target="b.png",
            source_size=_SIDE,
            target_size=_SIDE,
            source_box=None,
            target_box=(0.0, 0.0, 5.0, 5.0),
            source_points=points,
            truth=points,
            predicted=predicted,
            confidence=np.zeros(len(predicted)),
            layers={} if error else {"up/4": predicted},
            rounds={} if error else {"1": predicted},
            error=error,
        )
        lines.append(made.to_json())
    return ("\n".join(lines).encode(),)


def transfer_records() -> Files:
    """A finished target and one that could not be read."""
    predicted = PredictedObject(
        category="cat",
        names=tuple(_NAMES),
        points=np.array([[1.5, 2.5], [3, 4], [np.nan, np.nan]]),
        confidence=np.array([0.9, 0.3, 0.0]),
        box=(0.0, 0.0, 5.0, 5.0),
        id=3,
    )
    records = [
        TransferRecord(file="a.png", path=Path("a.png"), size=_SIDE, objects=(predicted,)),
        TransferRecord(file="b.png", path=Path("b.png"), error="broken"),
    ]
    return ("\n".join(record.to_json() for record in records).encode(),)


def settings() -> Files:
    """What ``--set`` is given, as a list of texts."""
    return (
        _json(["rounds=3", "lr=1e-2", "noise=uniform", 'layers=["up/4"]', "resolution=null"]),
        _json(["locate-crops=8", "seed=7", "steps=10"]),
    )


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _saved(image: PIL.Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def _written(save: Callable[[Path], Path], name: str) -> bytes:
    with TemporaryDirectory() as folder:
        return save(Path(folder) / name).read_bytes()
