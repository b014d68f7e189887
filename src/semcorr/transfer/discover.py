"""Discovered key-points of images in files: stored as it goes, continued, and written as predicted objects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semcorr.errors import ImageError
from semcorr.imaging.image import load_image, save_image
from semcorr.keypoints.base import Annotations, Category
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.matchers.base import ModelIdentity
from semcorr.matchers.prompt.discovery import (
    KeypointTokens,
    OptimizerState,
    check_request,
    discover_keypoints,
    settings_for,
)
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress
from semcorr.storage.record_store import settings_hash
from semcorr.storage.safetensors import complete, read_tensors, write_tensors
from semcorr.transfer import export, review_page
from semcorr.transfer.journal import Journal
from semcorr.transfer.targets import Target
from semcorr.visualization.keypoints import keypoint_grid

_STATE = "state of a discovery"

_FOLLOWS = 0.35
"""Mean confidence below which key-points do not follow their images.

Chosen on the toy model, between what drawings give, of one kind or of several, and what noise gives: whether images
show the same kind of object, it cannot say.
"""

_SHOWN = 24
"""Images of the figure."""


@dataclass(frozen=True, kw_only=True)
class DiscoveryOutput:
    """The files that a discovery writes.

    Attributes:
        path: Predicted objects as COCO key-points; the tokens are beside it, in a ``.safetensors`` file of its name.
        review: The page with all images and their points, or None.
        figure: An image of the first 24 of them, or None.
        category: What the objects are called.
        min_confidence: From which confidence on a point is marked as visible.
        replace: Whether files that exist are written over.
    """

    path: Path
    review: Path | None = None
    figure: Path | None = None
    category: str = "object"
    min_confidence: float = 0.5
    replace: bool = False

    @property
    def tokens(self) -> Path:
        """The file of the tokens."""
        return self.path.with_suffix(".safetensors")

    @property
    def work_folder(self) -> Path:
        """Where a discovery under way is stored."""
        return self.path.with_name(f"{self.path.name}.work")

    def check(self, images: Sequence[Path], *, tokens: bool) -> None:
        """Refuse to write over what is read, and over what exists, before anything slow begins.

        Args:
            images: What is read.
            tokens: Whether the file of the tokens is written as well.

        Raises:
            TransferError: A file cannot be written to.
        """
        export.paths_of(self.path, ("coco",))
        others = [self.tokens if tokens else None, self.review, self.figure]
        files = [self.path, *(one for one in others if one is not None)]
        export.check_outputs(files, images, work_folder=self.work_folder, replace=self.replace)


@dataclass(frozen=True, kw_only=True)
class DiscoveryReport:
    """How a discovery went.

    Attributes:
        tokens: The key-points.
        images: How many images have points.
        failed: Images that failed, with error messages.
        confidence: The mean confidence of all points.
        files: What was written.
    """

    tokens: KeypointTokens
    images: int
    failed: Mapping[str, str]
    confidence: float
    files: tuple[Path, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of the key-points, a sentence each."""
        if self.confidence >= _FOLLOWS:
            return ()
        return (
            f"The key-points do not follow their images when these are turned and moved (mean confidence "
            f"{self.confidence:.2f}, expected at least {_FOLLOWS:g}): the images may have nothing in common that this "
            "network knows, or the optimization was too short. Check them (--review), name other images, or raise "
            "--set steps.",
        )


class FileDiscovery:
    """A discovery of key-points in image files, which another process may continue at any time.

    Args:
        images: The images.
        output: What is written. What is done is stored in its ``work_folder`` until then.

    Raises:
        TransferError: A file cannot be written to.
        ImageError: No image can be read.
    """

    def __init__(self, images: Sequence[Path], output: DiscoveryOutput) -> None:
        self.output = output
        self.failed: dict[str, str] = {}
        self._hashes: dict[Path, str] = {}
        for path in dict.fromkeys(images):
            try:
                self._hashes[path] = load_image(path).sha256
            except ImageError as error:
                self.failed[path.as_posix()] = str(error)
        if not self._hashes:
            first = next(iter(self.failed.values()), "There is none.")
            raise ImageError(f"Expected images that can be read, got none. {first}")
        self.images = list(self._hashes)

    def discover(
        self, model: DiffusionModel, count: int, *, most: int, progress: Progress | None = None, **settings: Any
    ) -> DiscoveryReport:
        """Discover key-points, find them in all images, and write the files.

        Args:
            model: The frozen network.
            count: How many key-points.
            most: How many of the images, evenly spread over their order, the key-points are discovered on.
            progress: As in :func:`discover_keypoints`, and called as ``("locate", images done, images in all)``; raise
                from it to stop: what is done is kept, and the same call continues.
            **settings: What differs from the settings of the model's family (:func:`settings_for`).

        Raises:
            SettingsError: A setting is unknown or does not fit.
            TransferError: A file cannot be written to, or the work folder is another discovery's.
            RunError: The work folder cannot be written, or is in use.
        """
        self.output.check(self.images, tokens=True)
        how = settings_for(model.family, **settings)
        chosen = [
            self.images[at]
            for at in np.linspace(0, len(self.images) - 1, min(most, len(self.images))).round().astype(int)
        ]
        check_request(model, [self._hashes[path] for path in chosen], count)
        identity = {**self._identity(model), "settings": how.to_dict(), "count": count, "discovered_on": len(chosen)}
        journal = Journal(self.output.work_folder, identity)
        kept, path = self.output.work_folder / "tokens.safetensors", self.output.work_folder / "state.safetensors"
        with journal.open():
            if kept.exists():
                tokens = KeypointTokens.load(kept)
            else:
                tokens = discover_keypoints(
                    model, chosen, count, state=_read_state(path), save=lambda state: _write_state(path, state),
                    progress=progress, **settings,
                )  # fmt: skip
                tokens.save(kept)
            report = self._locate(model, tokens, journal, progress, new=True)
        journal.remove()
        return report

    def locate(
        self, model: DiffusionModel, tokens: KeypointTokens, *, progress: Progress | None = None
    ) -> DiscoveryReport:
        """Find key-points that were discovered before in all images, and write the files but that of the tokens.

        Args and errors are those of :meth:`discover`; and QueryError: the network is another.
        """
        tokens.check(model)
        self.output.check(self.images, tokens=False)
        query = {
            "names": tokens.names,
            "tokens": tokens.tokens,
            "context": settings_hash({"c": tokens.context.tolist()}),
        }
        journal = Journal(
            self.output.work_folder, {**self._identity(model), "settings": tokens.settings.to_dict(), **query}
        )
        with journal.open():
            report = self._locate(model, tokens, journal, progress, new=False)
        journal.remove()
        return report

    def _identity(self, model: DiffusionModel) -> dict[str, Any]:
        hashes = {path.as_posix(): value for path, value in self._hashes.items()}
        return {"task": "discover", **ModelIdentity.of(model).to_dict(), "images": settings_hash(hashes)}

    def _locate(
        self, model: DiffusionModel, tokens: KeypointTokens, journal: Journal, progress: Progress | None, *, new: bool
    ) -> DiscoveryReport:
        targets = [Target(file=path.as_posix(), path=path, regions=()) for path in self.images]
        for done, target in enumerate(targets, start=1):
            if not journal.done(target):
                journal.add(self._record(model, tokens, target))
            if progress is not None:
                progress("locate", done, len(targets))
        files = self._write(model, tokens, journal, targets, progress)
        if new:
            files.append(tokens.save(self.output.tokens))
        confidence = float(np.mean([record.objects[0].confidence.mean() for record in journal.records(targets)]))
        return DiscoveryReport(
            tokens=tokens, images=len(targets), failed=self.failed, confidence=confidence, files=tuple(files)
        )

    def _record(self, model: DiffusionModel, tokens: KeypointTokens, target: Target) -> TransferRecord:
        image = load_image(target.path)
        points, confidence = tokens.locate(model, image)
        one = PredictedObject(category=self.output.category, names=tokens.names, points=points, confidence=confidence)
        return TransferRecord(file=target.file, path=target.path, size=image.size, objects=(one,))

    def _write(
        self,
        model: DiffusionModel,
        tokens: KeypointTokens,
        journal: Journal,
        targets: Sequence[Target],
        progress: Progress | None,
    ) -> list[Path]:
        category = Category(id=1, name=self.output.category, keypoints=tokens.names)
        empty = Annotations(path=self.output.path, categories={category.name: category}, images=[])

        def records() -> Iterator[TransferRecord]:
            return journal.records(targets)

        confidence = self.output.min_confidence
        info = {"method": "discover", **ModelIdentity.of(model).to_dict(), "settings": tokens.settings.to_dict()}
        files = export.write("coco", self.output.path, empty, records, min_confidence=confidence, info=info)
        if self.output.review is not None:
            page = review_page.write(
                self.output.review,
                empty,
                records,
                supports={},
                min_confidence=confidence,
                failed=self.failed,
                total=len(targets),
                progress=progress,
            )
            files.append(page)
        if self.output.figure is not None:
            shown = targets[:_SHOWN]
            points = [record.objects[0].points for record in journal.records(shown)]
            files.append(save_image(keypoint_grid([target.path for target in shown], points), self.output.figure))
        return files


def _write_state(path: Path, state: OptimizerState) -> None:
    arrays = {"context": state.embeddings, "mean": state.mean, "squares": state.squares}
    write_tensors(path, _STATE, {"step": state.step}, {name: value.numpy() for name, value in arrays.items()})


def _read_state(path: Path) -> OptimizerState | None:
    if not path.exists():
        return None
    header, arrays = read_tensors(path, _STATE)
    with complete(path, _STATE):
        context, mean, squares = (torch.from_numpy(arrays[name]) for name in ("context", "mean", "squares"))
        return OptimizerState(step=int(header["step"]), embeddings=context, mean=mean, squares=squares)
