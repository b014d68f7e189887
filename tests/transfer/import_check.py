"""Run by another Python, which has Label Studio's and CVAT's readers: prints as JSON what they make of files.

``python import_check.py TASKS.json CONFIG.xml CVAT_FOLDER PROJECT.json PROJECT_CONFIG.xml``
"""

import json
import sys
from pathlib import Path

from datumaro.components.dataset import Dataset
from label_studio_sdk.label_interface import LabelInterface


def label_studio(tasks: Path, config: Path) -> dict[str, object]:
    interface = LabelInterface(config.read_text(encoding="utf-8"))
    interface.validate()
    content = json.loads(tasks.read_text(encoding="utf-8"))
    predictions = [prediction for task in content for prediction in task.get("predictions", [])]
    annotations = [annotation for task in content for annotation in task.get("annotations", [])]
    # Both are checked by the same rules, of which only the predictions' give the errors.
    errors = [interface.validate_prediction({"model_version": "x", **one}, return_errors=True) for one in annotations]
    errors += [interface.validate_prediction(prediction, return_errors=True) for prediction in predictions]
    wrong = json.loads(json.dumps(next(one for one in predictions if one["result"])))
    wrong["result"][0]["value"] = {"x": 1, "y": 1, "width": 1, "keypointlabels": ["nobody"]}
    return {
        "tasks": len(content),
        "errors": errors,
        "notices_errors": bool(interface.validate_prediction(wrong, return_errors=True)),
    }


def cvat(folder: Path) -> dict[str, object]:
    dataset = Dataset.import_from(str(folder), "cvat")
    labels = [label.name for label in dataset.categories()[next(iter(dataset.categories()))]]
    return {
        "items": {
            item.id: [
                [labels[one.label], [round(float(value), 2) for value in one.points]]
                for one in item.annotations
                if one.type.name == "points"
            ]
            for item in dataset
        }
    }


if __name__ == "__main__":
    tasks, config, folder, project, its_config = map(Path, sys.argv[1:])
    result = {
        "label_studio": label_studio(tasks, config),
        "project": label_studio(project, its_config),
        "cvat": cvat(folder),
    }
    sys.stdout.write(json.dumps(result) + "\n")
