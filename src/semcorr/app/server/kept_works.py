"""Works on the disk: a folder for each, named by the SHA-256 of its key. The key itself is nowhere.

Every step is written before it is answered: first the arrays that are new, each once, then ``work.json``, which names
them. Whatever ends the process, the folder holds the last step that was answered or the one after it.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary
from zipfile import BadZipFile

import numpy as np

from semcorr.app.images import HeldImage
from semcorr.app.painting import Labels
from semcorr.app.server.kept_format import FORMAT, Content, Document, Kept, KeptImage, content_of, document_of
from semcorr.app.workspace import Prediction, Workspace
from semcorr.errors import SemcorrError, SettingsError
from semcorr.imaging.image import Image, load_image, png
from semcorr.matchers.regions.results import RegionQuery
from semcorr.matchers.results import Matches, Query
from semcorr.storage.files import atomic_file, write_atomically
from semcorr.storage.npz import npz_file

_FOLDERS = ("images", "queries", "predictions", "labels")
_NAME = re.compile(r"[0-9a-f]{64}")
_DELETED = ".deleted-"
_LITTLE = 500e6
"""Bytes of the disk from which down the page warns."""
_TOUCH = 60.0
"""Seconds between two notes on the disk that a work is in use."""
_UNFINISHED = 3600.0
"""Seconds after which a folder without ``work.json`` is what a killed process left of a first step."""


class NotKept(SemcorrError):  # noqa: N818
    """The disk is full, or cannot be written for another reason."""


class BrokenWork(SemcorrError):  # noqa: N818
    """A folder holds no work that can be read."""


class KeptWork:
    """One work's folder; it is made by the first :meth:`write`.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._document = folder, folder / "work.json"
        self._names: WeakKeyDictionary[Kept, str] = WeakKeyDictionary()
        self._version: tuple[int, int] | None = None
        self._touched = 0.0

    def write(self, content: Content, earlier: Iterable[Workspace]) -> None:
        """Write a work, and remove the files that neither it nor its earlier states need.

        Raises:
            NotKept: It cannot be written; what was there before still is.
        """
        written: list[Path] = []
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for name, save in self._files([content.work], content.words_image).items():
                path = self._folder / name
                if not path.exists():
                    written.append(path)
                    save(path)
            text = document_of(content, self.name_of).model_dump_json()
            write_atomically(self._document, text.encode())
            self._version, self._touched = self._present(), time.monotonic()
        except OSError as error:
            for path in written:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise NotKept(
                f"Nothing was changed: this work cannot be stored on the server ({error.strerror or error}). Make room "
                "on its disk and try again."
            ) from error
        self._clean([content.work, *earlier], content.words_image)

    def read(self) -> Content | None:
        """The work; None where there is none.

        Raises:
            BrokenWork: The folder holds something else, or it is broken.
        """
        try:
            self._version = self._present()
            if self._version is None:
                return None
            content = content_of(
                Document.model_validate_json(self._document.read_bytes()), _Reader(self._folder, self._names)
            )
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, SemcorrError) as error:
            raise BrokenWork(
                "This work cannot be read any more: its folder is broken, or was written by another version. It is "
                "left untouched on the server."
            ) from error
        self._clean([content.work], content.words_image)
        return content

    def touch(self) -> None:
        """Note that the work is in use."""
        if time.monotonic() - self._touched > _TOUCH and self._version is not None:
            with contextlib.suppress(OSError):
                os.utime(self._document)
                self._version, self._touched = self._present(), time.monotonic()

    @property
    def changed_elsewhere(self) -> bool:
        """Whether another process wrote or deleted the work since this one wrote or read it."""
        return self._present() != self._version

    @property
    def nearly_full(self) -> bool:
        """Whether little is left of the disk."""
        try:
            return shutil.disk_usage(self._folder.parent).free < _LITTLE
        except OSError:  # the folder is not made yet
            return False

    def delete(self) -> None:
        """Delete the folder.

        Raises:
            NotKept: It cannot be deleted.
        """
        try:
            _delete(self._folder)
        except OSError as error:
            raise NotKept(f"The work cannot be deleted ({error.strerror or error}). Try again.") from error

    def name_of(self, kept: Kept) -> str:
        """The name of the files of a query or a prediction, which it keeps."""
        return self._names.setdefault(kept, secrets.token_hex(16))

    def _files(self, works: Iterable[Workspace], words_image: Image | None) -> dict[str, Callable[[Path], object]]:
        """All files of works beside ``work.json``: by their path in the folder, what writes each."""
        files: dict[str, Callable[[Path], object]] = {}
        images = [] if words_image is None else [words_image]
        for work in works:
            images += [*([] if work.source is None else [work.source]), *work.targets]
            for point in work.described.values():
                files[f"queries/{self.name_of(point.query)}.safetensors"] = point.query.save
            for match in work.matches.values():
                prediction, name = match.prediction, self.name_of(match.prediction)
                images.append(prediction.image)
                files[f"predictions/{name}.safetensors"] = prediction.matches.save
                if prediction.layers is not None:
                    files[f"predictions/{name}.npz"] = partial(_write_layers, prediction.layers)
            if work.described_regions is not None:
                query = work.described_regions.query
                files[f"queries/{self.name_of(query)}.safetensors"] = query.save
            for labels in _label_maps(work):
                files[f"labels/{labels.sha256}.png"] = partial(write_atomically, data=labels.packed)
        return files | {f"images/{image.sha256}.png": partial(_write_image, image) for image in images}

    def _clean(self, works: Iterable[Workspace], words_image: Image | None) -> None:
        """Remove the files that nothing needs."""
        needed = self._files(works, words_image)
        with contextlib.suppress(OSError):
            for path in [*self._folder.glob("*/*"), *self._folder.glob(f".{self._document.name}.*")]:
                if path.relative_to(self._folder).as_posix() not in needed:
                    path.unlink(missing_ok=True)

    def _present(self) -> tuple[int, int] | None:
        """What tells one version of ``work.json`` from the next; None where there is none."""
        try:
            present = self._document.stat()
        except OSError:
            return None
        return present.st_ino, present.st_mtime_ns


class _Reader:
    """Reads a work's files, each once, and remembers their names.

    Args:
        folder: The work's folder.
        names: Gets the names of the queries and predictions that are read.
    """

    def __init__(self, folder: Path, names: WeakKeyDictionary[Kept, str]) -> None:
        self._folder, self._names = folder, names
        self._images: dict[KeptImage, Image] = {}
        self._queries: dict[str, Query] = {}
        self._predictions: dict[str, Prediction] = {}

    def image(self, kept: KeptImage) -> Image:
        """Read an image."""
        if kept not in self._images:
            image = load_image(self._folder / "images" / f"{kept.file}.png", name=kept.name)
            if image.size != kept.original:
                image = HeldImage(pixels=image.pixels, name=kept.name, original=kept.original)
            self._images[kept] = image
        return self._images[kept]

    def query(self, name: str) -> Query:
        """Read a query."""
        if name not in self._queries:
            query = self._queries[name] = Query.load(self._folder / "queries" / f"{name}.safetensors")
            self._names[query] = name
        return self._queries[name]

    def prediction(self, name: str, image: Image) -> Prediction:
        """Read a prediction in a target."""
        if name not in self._predictions:
            path = self._folder / "predictions" / f"{name}.safetensors"
            matches = Matches.load(path)
            layers = _read_layers(path.with_suffix(".npz"), (len(matches.points), len(matches.layer_names)))
            prediction = self._predictions[name] = Prediction(image=image, matches=matches, layers=layers)
            self._names[prediction] = name
        return self._predictions[name]

    def labels(self, name: str) -> Labels:
        """Read a label map."""
        return Labels(packed=(self._folder / "labels" / f"{name}.png").read_bytes())

    def region_query(self, name: str) -> RegionQuery:
        """Read a region query."""
        query = RegionQuery.load(self._folder / "queries" / f"{name}.safetensors")
        self._names[query] = name
        return query


class KeptWorks:
    """The folder of all works.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, which only this user may read, and check that it can be written.

        Raises:
            SettingsError: It cannot.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise SettingsError(
                f"Works cannot be kept in {str(self._folder)!r} ({error.strerror or error}). Choose another folder "
                "with --works."
            ) from error

    def of(self, key: str) -> KeptWork:
        """The folder of a key's work, whether there is one or not."""
        return KeptWork(self._folder / hashlib.sha256(key.encode()).hexdigest())

    def sweep(self, hours: float) -> None:
        """Delete the works that were not used for so many hours, and what was left of killed processes.

        Whatever is no work of this version is left untouched.
        """
        with contextlib.suppress(OSError):
            for folder in list(self._folder.iterdir()):
                with contextlib.suppress(OSError):
                    if not folder.is_symlink() and _is_over(folder, hours * 3600):
                        _delete(folder)


def _is_over(folder: Path, seconds: float) -> bool:
    """Whether a folder is a work that is to be deleted."""
    if folder.name.startswith(_DELETED):
        return True
    if not _NAME.fullmatch(folder.name) or not folder.is_dir():
        return False
    document = folder / "work.json"
    if not document.exists():
        own = all(path.name in _FOLDERS or path.name.startswith(".work.json.") for path in folder.iterdir())
        return own and time.time() - folder.stat().st_mtime > _UNFINISHED
    if time.time() - document.stat().st_mtime <= seconds:
        return False
    try:
        return Document.model_validate_json(document.read_bytes()).format == FORMAT
    except ValueError:
        return False


def _delete(folder: Path) -> None:
    """Delete a folder; from the first moment on it is no work any more."""
    if not folder.exists():
        return
    if not folder.name.startswith(_DELETED):
        folder = folder.rename(folder.with_name(f"{_DELETED}{secrets.token_hex(16)}"))
    shutil.rmtree(folder)


def _label_maps(work: Workspace) -> list[Labels]:
    return [*([] if work.painting is None else [work.painting.labels]), *(one.labels for one in work.regions.values())]


def _write_image(image: Image, path: Path) -> None:
    with atomic_file(path) as stream:
        stream.write(png(image.pil()))


def _write_layers(layers: np.ndarray, path: Path) -> None:
    with npz_file(path) as add:
        add("layers", layers)


def _read_layers(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    if not path.exists():
        return None
    # Of a broken file, NumPy leaves what it opened itself open.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        layers: np.ndarray = arrays["layers"]
    if layers.ndim != 4 or layers.shape[:2] != shape:
        raise ValueError(f"heat maps of shape {layers.shape} for {shape[0]} points and {shape[1]} layers")
    return layers
