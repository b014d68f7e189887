"""Run by another Python, which has the tools' own readers: prints as JSON what they make of files.

``python their_readers.py PACKAGES data.yaml labels.slp tasks.json tasks.config.xml CVAT_FOLDER``. PACKAGES are those of
the Python that the tests run in, which has PyTorch; Ultralytics imports it.
"""

import json
import shutil
import sys
from pathlib import Path

sys.path.append(sys.argv[1])


def ultralytics(file: Path) -> dict[str, object]:
    """The data set as Ultralytics checks it and as its own class for training reads it."""
    import matplotlib as mpl
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset
    from ultralytics.utils import USER_CONFIG_DIR

    # It would download a font for its plots.
    shutil.copy(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), Path(USER_CONFIG_DIR, "Arial.ttf"))
    data = check_det_dataset(str(file), autodownload=False)
    read: dict[str, object] = {}
    for split in ("train", "val"):
        dataset = YOLODataset(img_path=data[split], data=data, task="pose", augment=False, imgsz=64)
        for one in dataset.labels:
            name = Path(one["im_file"]).relative_to(data[split]).as_posix()
            keypoints, (height, width) = one["keypoints"].tolist(), one["shape"]
            read[f"{split}/{name}"] = {
                "boxes": [[x * width, y * height, w * width, h * height] for x, y, w, h in one["bboxes"].tolist()],
                "classes": one["cls"].ravel().tolist(),
                "keypoints": [[[x * width, y * height, v] for x, y, v in points] for points in keypoints],
            }
    settings = {key: data[key] for key in ("kpt_shape", "flip_idx", "names", "kpt_names", "nc")}
    return {"settings": settings, "images": read}


def sleap(file: Path) -> dict[str, object]:
    """The labels as sleap-io reads them."""
    import sleap_io

    labels = sleap_io.load_slp(str(file), open_videos=True)
    (skeleton,) = labels.skeletons
    return {
        "name": skeleton.name,
        "nodes": skeleton.node_names,
        "edges": [list(edge) for edge in skeleton.edge_inds],
        "symmetries": sorted(sorted(pair) for pair in skeleton.symmetry_names),
        "shapes": sorted(list(video.shape) for video in labels.videos),
        "frames": {
            Path(frame.video.filename[frame.frame_idx]).name: {
                "mean": float(frame.image.mean()),
                "instances": [
                    [type(one).__name__, [[x, y] if x == x else None for x, y in one.numpy().tolist()]]
                    for one in frame.instances
                ],
            }
            for frame in labels.labeled_frames
        },
    }


def label_studio(tasks: Path, config: Path) -> list[bool]:
    """Whether each annotation and prediction is valid for Label Studio's own interface."""
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface(config.read_text(encoding="utf-8"))
    interface.validate()
    content = json.loads(tasks.read_text(encoding="utf-8"))
    annotations = [one for task in content for one in task.get("annotations", [])]
    predictions = [one for task in content for one in task.get("predictions", [])]
    return [
        *(interface.validate_annotation(one) for one in annotations),
        *(interface.validate_prediction(one) for one in predictions),
    ]


def cvat(folder: Path) -> dict[str, object]:
    """What datumaro, CVAT's library of formats, reads: the label and numbers of every shape."""
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(folder), "cvat")
    labels = [label.name for label in dataset.categories()[next(iter(dataset.categories()))]]
    return {
        item.id: sorted(
            [one.type.name, labels[one.label], one.group, [round(float(value), 2) for value in one.points]]
            for one in item.annotations
        )
        for item in dataset
    }


if __name__ == "__main__":
    data, slp, tasks, config, folder = map(Path, sys.argv[2:])
    result = {
        "ultralytics": ultralytics(data),
        "sleap": sleap(slp),
        "label-studio": label_studio(tasks, config),
        "cvat": cvat(folder),
    }
    sys.stdout.write(json.dumps(result) + "\n")
