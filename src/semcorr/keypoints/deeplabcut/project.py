"""DeepLabCut's projects: which tables of labels and which frames a path that the user named stands for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcorr.imaging.image_files import is_image_name
from semcorr.keypoints.deeplabcut.table import FOLDER
from semcorr.keypoints.file_reader import DataFile, DataFolder, first_few
from semcorr.storage.files import is_dir, is_file

TITLE = "DeepLabCut's labels"

CONFIG = "config.yaml"
_LABELS, _PREDICTIONS = "CollectedData_*.csv", ".machinelabels.csv"
_YAML, _PANDAS = (".yaml", ".yml"), (".h5", ".hdf5")
_DRAWN = "_labeled"
"""The end of the name of a folder of copies of a video's frames, with the labels drawn into them."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a project's config.yaml says.

    Attributes:
        scorer: Whose labels count, "" if it does not say.
        parts: The body parts in order, those of which there is but one last.
        skeleton: Pairs of body parts.
    """

    scorer: str = ""
    parts: tuple[str, ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Project:
    """What is read.

    Attributes:
        folder: The project's folder, from which images are named.
        config: What its config.yaml says.
        tables: The files of labels.
        videos: The folders of frames.
        files: All files that say something: the tables and config.yaml.
        notes: What is left out, a sentence each.
    """

    folder: DataFolder
    config: Config
    tables: tuple[Path, ...]
    videos: tuple[Path, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def is_project_path(path: Path) -> bool:
    """Whether a path is a project's folder, a folder of labels in it, its config.yaml, or pandas' copy of labels."""
    if not is_dir(path):
        return path.suffix.lower() in (*_YAML, *_PANDAS)
    return is_dir(path / FOLDER) or path.absolute().name == FOLDER or bool(_labels(path))


def find_project(path: Path) -> Project:
    """The project that a path means: a folder, config.yaml, or one table, with the frames of its video.

    Raises:
        DatasetError: There are no labels, or several people's and config.yaml does not say whose count.
    """
    path = path.absolute()
    root = _root(path)
    folder = DataFolder(root=root, title=TITLE, advice="Correct the project, or name another.")
    if path.suffix.lower() in _PANDAS:
        raise _pandas_error(folder, path)
    config_file = path if path.suffix.lower() in _YAML else root / CONFIG
    known = path == config_file or is_file(config_file)
    config = _read_config(DataFile(folder=folder, path=config_file)) if known else Config()
    notes: list[str] = []
    if is_dir(path) or path == config_file:
        videos = _videos(root) if path in (root, config_file) or path.name == FOLDER else [path]
        tables = [table for video in videos or [root] for table in _chosen(folder, video, config, notes)]
        if not tables:
            raise _no_labels(folder, videos)
    else:
        tables, videos = [path], [path.parent] if path.parent.parent.name == FOLDER else []
    return Project(
        folder=folder,
        config=config,
        tables=tuple(tables),
        videos=tuple(videos),
        files=(*tables, *([config_file] if known else [])),
        notes=tuple(notes),
    )


def frames(video: Path) -> list[Path]:
    """The frames in a video's folder, sorted; hidden files are none."""
    listed = sorted(video.iterdir()) if is_dir(video) else []
    return [path for path in listed if is_image_name(path) and not path.name.startswith(".") and is_file(path)]


def _root(path: Path) -> Path:
    """The project's folder: the one above labeled-data, or else the one that is or holds what was named."""
    folder = path if is_dir(path) else path.parent
    for above, below in ((folder.parent, folder), (folder.parent.parent, folder.parent)):
        if below.name == FOLDER:
            return above
    return folder


def _videos(root: Path) -> list[Path]:
    """The folders of frames, sorted, without those of frames with labels drawn into them."""
    listed = sorted(root.joinpath(FOLDER).iterdir()) if is_dir(root / FOLDER) else []
    folders = [path for path in listed if is_dir(path) and not path.name.startswith(".")]
    names = {path.name for path in folders}
    return [path for path in folders if path.name.removesuffix(_DRAWN) not in names - {path.name}]


def _labels(video: Path) -> list[Path]:
    return [path for path in sorted(video.glob(_LABELS)) if not path.name.endswith(_PREDICTIONS) and is_file(path)]


def _chosen(folder: DataFolder, video: Path, config: Config, notes: list[str]) -> Iterator[Path]:
    """The labels of one video that count: the scorer's, or the only ones."""
    listed = _labels(video)
    own = [path for path in listed if path.name == f"CollectedData_{config.scorer}.csv"] or listed
    if len(own) > 1:
        raise folder.error(
            f"expected the labels of one person in {str(video)!r}, got {first_few(path.name for path in own)}: name "
            f"one of the files, or its scorer in {CONFIG}."
        )
    others = [path.name for path in listed if path not in own]
    if others:
        notes.append(f"labels of others than the scorer in {video.name!r} are not read: {first_few(others)}")
    if own and config.scorer and own[0].name != f"CollectedData_{config.scorer}.csv":
        notes.append(f"{own[0].name!r} in {video.name!r} is read, though {CONFIG} names the scorer {config.scorer!r}")
    yield from own


def _no_labels(folder: DataFolder, videos: Sequence[Path]) -> Exception:
    pandas = [path for video in videos for path in sorted(video.glob("CollectedData_*.h5"))]
    if pandas:
        return _pandas_error(folder, pandas[0])
    return folder.error(
        f"expected {FOLDER}/VIDEO/{_LABELS} in {str(folder.root)!r}, got none: label a few frames in DeepLabCut first."
    )


def _pandas_error(folder: DataFolder, path: Path) -> Exception:
    """Labels in HDF5 are DeepLabCut's own copy of the table; reading them takes pandas and PyTables."""
    table = path.with_suffix(".csv")
    what = f"name {str(table)!r} instead" if is_file(table) else "save the table beside it in DeepLabCut, as .csv"
    return folder.error(f"{str(path)!r} is pandas' copy (.h5) of a table, which is not read: {what}.")


def _read_config(file: DataFile) -> Config:
    """Read config.yaml, with PyYAML's safe loader.

    Raises:
        DatasetError: It is missing, or is not the configuration of a project.
    """
    import yaml  # type: ignore[import-untyped]  # comes with huggingface-hub

    try:
        content = yaml.safe_load(file.text())
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: dates that are none
        raise file.error("YAML", f"something else: {' '.join(str(error).split()):.120}") from error
    if not isinstance(content, dict) or not {"bodyparts", "multianimalbodyparts"} & set(content):
        raise file.error("DeepLabCut's configuration, with bodyparts", f"{content!r:.40}")
    several = _texts(content.get("multianimalbodyparts"))
    parts = (*several, *_texts(content.get("uniquebodyparts"))) if several else _texts(content.get("bodyparts"))
    bones = content.get("skeleton")
    pairs = [_texts(bone) for bone in bones] if isinstance(bones, list) else []
    scorer = content.get("scorer")
    return Config(
        scorer="" if scorer is None else str(scorer),
        parts=parts,
        skeleton=tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2),
    )


def _texts(value: Any) -> tuple[str, ...]:
    """A list of names; YAML reads some of them as numbers or truth values."""
    listed = value if isinstance(value, list) else []
    return tuple(str(one) for one in listed if isinstance(one, str | int | float))
