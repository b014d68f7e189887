"""DeepLabCut: the labels of a project read, and predictions written as a table that it takes.

Pixels are counted by their centres: DeepLabCut's labels are clicks in an image of matplotlib's or napari's, where the
centre of the first pixel is (0, 0). So half a pixel is added when they are read, as to COCO's, and taken away when they
are written.
"""

from pathlib import Path

from semcorr.keypoints.annotation_format import AnnotationFormat, ExportOptions, Records
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.deeplabcut.correct import correct
from semcorr.keypoints.deeplabcut.new_project import write_project
from semcorr.keypoints.deeplabcut.project import CONFIG, is_project_path
from semcorr.keypoints.deeplabcut.read import read
from semcorr.keypoints.deeplabcut.table import FOLDER, is_table
from semcorr.keypoints.deeplabcut.write import further_files, write


def _write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a table, or where the path is that of a config.yaml a new project."""
    return (write_project if path.name == CONFIG else write)(path, annotations, records, options)


def _further_files(path: Path, annotations: Annotations) -> list[Path]:
    return [path.parent / FOLDER] if path.name == CONFIG else further_files(path, annotations)


FORMAT = AnnotationFormat(
    name="deeplabcut",
    title="DeepLabCut",
    suffix=".csv",
    read=read,
    write=_write,
    recognizes=is_table,
    opens=is_project_path,
    correct=correct,
    further_files=_further_files,
    file_name=CONFIG,
)
