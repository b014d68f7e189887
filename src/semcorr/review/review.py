"""A review of a file: its objects, what a person made of them, and what is written in the end."""

import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from semcorr.errors import ReviewError
from semcorr.keypoints.annotation_format import ExportOptions
from semcorr.keypoints.base import AnnotatedImage, Annotations, Instance
from semcorr.keypoints.check import Finding
from semcorr.keypoints.corrections import corrected_images
from semcorr.keypoints.declared_size import coordinate_frame
from semcorr.keypoints.formats import find_format
from semcorr.keypoints.read import read_annotations
from semcorr.review.journal import Change, Entry, Journal, content_hash
from semcorr.review.objects import ReviewObject, State, current_instance, is_changed, review_objects, settled
from semcorr.review.reasons import reasons_of
from semcorr.transfer.supports import choose_supports


class _Source(BaseModel):
    """An annotated object that points came from: its image's file, and its id or None for all in the image."""

    image: str
    annotation: int | str | None = None


_SOURCES = TypeAdapter(dict[str, list[_Source]])


class StaleChangeError(ReviewError):
    """The object was changed since the state that a change was made on; ``one`` is the object as it is."""

    def __init__(self, one: ReviewObject) -> None:
        super().__init__("This object was changed in another window meanwhile. It is shown as it is now.")
        self.one = one


class Review:
    """The objects of a file that are predicted, or that a check lists, under review.

    All methods may be called from any thread.

    Args:
        path: The file, in any format.
        images: Folder of the images that it names.
        output: Where corrections are written; by default ``NAME.corrected`` beside the file.
        replace: Whether an output that exists may be written over.
        findings: What a check of the file lists; then the objects that it is about are reviewed, annotated ones too.

    Attributes:
        all_objects: All of the file, by their numbers.
        objects: Those under review.
        by_number: The same by their numbers.
        reasons: Of each of these what a check lists, the most suspicious first; empty without ``findings``.

    Raises:
        DatasetError: The file is missing or broken.
        ReviewError: There is nothing to review, or the output cannot be written to.
        RunError: The journal cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        images: Path | None = None,
        output: Path | None = None,
        replace: bool = False,
        findings: Sequence[Finding] | None = None,
    ) -> None:
        self.annotations = read_annotations(path, images)
        # Formats that cannot hold corrections become COCO.
        own = find_format(self.annotations.format)
        self.format = own if own.correct is not None else find_format("coco")
        self.output = output or path.with_name(f"{path.stem}.corrected{self.format.suffix}")
        self.content = content_hash(self.annotations.sources)
        self.all_objects = list(review_objects(self.annotations))
        self.is_check = findings is not None
        self.reasons = reasons_of(self.all_objects, self.annotations, findings or ())
        self.objects = [
            one for one in self.all_objects if (one.number in self.reasons if self.is_check else one.instance.predicted)
        ]
        self.by_number = {one.number: one for one in self.objects}
        self.revision = self._predicted_again = 0
        self._before: list[Change] = []
        self._replace, self._written = replace, frozenset[str]()
        self._lock = threading.RLock()
        if not self.objects:
            expected = (
                "entries of a check about objects"
                if self.is_check
                else "predicted objects, as `semcorr transfer` writes them (annotated ones: `semcorr check --review`)"
            )
            raise ReviewError(f"Expected {expected} in {str(path)!r}, got none: there is nothing to review.")
        self._check_output(path)
        self._journal = Journal(path, self.content)
        self.frame = lru_cache(maxsize=None)(self._frame)

    @contextlib.contextmanager
    def open(self) -> Iterator["Review"]:
        """Keep other processes out, and restore what the journal holds.

        Raises:
            ReviewError: Another process is reviewing the file.
            RunError: The journal cannot be read.
        """
        with self._journal.open() as entries:
            for entry in entries:
                self._apply(entry)
            yield self

    def change(self, states: Mapping[int, State], bases: Mapping[int, int]) -> list[ReviewObject]:
        """Change objects as a person asked for, all or none; they are on the disk when this returns.

        Args:
            states: By object, its state from now on.
            bases: By object, its revision that the change was made on.

        Returns:
            The objects.

        Raises:
            StaleChangeError: An object has another revision.
            ReviewError: There is no such object, or a state does not fit it.
            RunError: The journal cannot be written; nothing is changed.
        """
        with self._lock:
            changes = tuple(self._fitting(number, bases[number], state) for number, state in states.items())
            self._add(changes=changes)
            return [self.all_objects[number] for number in states]

    def _fitting(self, number: int, base: int, state: State) -> Change:
        if number not in self.by_number:
            raise ReviewError(f"Expected the number of an object under review, got {number}. Reload the page.")
        one, category = self.by_number[number], self.annotations.categories.get(state.category)
        if category is None or not category.keypoints:
            raise ReviewError(f"Expected a category of this file, got {state.category!r:.60}. Reload the page.")
        if one.revision != base:
            raise StaleChangeError(one)
        return Change(number=number, state=settled(state, one, category, self.frame(one.image)))

    def predicted_again(self, changes: Sequence[Change], bases: Mapping[int, int]) -> list[Change]:
        """Change those of many objects that were not changed since; they are on the disk when this returns.

        Args:
            changes: What a program predicted anew, and states that follow from it.
            bases: By object, the revision that it was predicted for.

        Returns:
            The changes that were made.

        Raises:
            RunError: The journal cannot be written; nothing is changed.
        """
        with self._lock:
            # A person may have been quicker.
            fresh = [one for one in changes if self.all_objects[one.number].revision == bases[one.number]]
            if fresh:
                self._add(changes=tuple(fresh), again="predicted")
            return fresh

    def undo_again(self) -> tuple[int, int]:
        """Make objects that were predicted again last as they were before, but for those that were changed since.

        Returns:
            How many are as they were, and how many stay.

        Raises:
            ReviewError: There are none.
            RunError: The journal cannot be written; nothing is changed.
        """
        with self._lock:
            fresh = self.undoable()
            if not fresh:
                raise ReviewError("Nothing was predicted again that nobody has changed since: nothing can be undone.")
            count = len(self._before)
            self._add(changes=tuple(fresh), again="undone")
            return len(fresh), count - len(fresh)

    def undoable(self) -> list[Change]:
        """What undoes the last prediction anew of the objects that were not changed since."""
        with self._lock:
            return [one for one in self._before if self.all_objects[one.number].revision == self._predicted_again]

    def _add(self, **fields: Any) -> None:
        """Write a line to the journal, then apply it. Under the lock."""
        # Counted on even if it fails: half of a line may have been written under this number.
        self.revision += 1
        entry = Entry(revision=self.revision, **fields)
        self._journal.add(entry)
        self._apply(entry)

    def changed_since(self, revision: int) -> tuple[int, list[ReviewObject]]:
        """The review's revision, and the objects that were changed after another one."""
        with self._lock:
            return self.revision, [one for one in self.objects if one.revision > revision]

    def listed(self, *, category: str = "", decision: str = "", name: str = "", order: str = "doubtful") -> list[int]:
        """The numbers of objects, the most doubtful first.

        Args:
            category: Only this category; empty for all.
            decision: Only "open", "accepted" or "rejected" ones; empty for all.
            name: A part of the file's name, in any case.
            order: "doubtful", "confident", or "file" for the order of the file.
        """
        part = name.lower()
        chosen = [
            one
            for one in self.objects
            if (not category or one.state.category == category)
            and (not decision or one.state.decision == decision)
            and (not part or part in self.image_of(one).file.lower())
        ]
        if order != "file":
            sign = -1 if order == "confident" else 1
            chosen.sort(key=lambda one: -sign * self.doubt(one))
        return [one.number for one in chosen]

    def doubt(self, one: ReviewObject) -> float:
        """How suspicious an object is, or how uncertain its prediction; what has no score is as doubtful as can be."""
        if self.is_check:
            return self.reasons[one.number][0].suspicion
        return 2.0 if one.prediction.score is None else 1 - one.prediction.score

    def counts(self) -> Mapping[str, int]:
        """How many objects there are of each decision."""
        return Counter(one.state.decision for one in self.objects)

    def beside(self, one: ReviewObject) -> list[int]:
        """The numbers of all objects of an object's image, its own among them."""
        return self._by_image[one.image]

    @cached_property
    def _by_image(self) -> Mapping[int, list[int]]:
        numbers: dict[int, list[int]] = {}
        for one in self.objects:
            numbers.setdefault(one.image, []).append(one.number)
        return numbers

    def image_of(self, one: ReviewObject) -> AnnotatedImage:
        """The image that an object is in."""
        return self.annotations.images[one.image]

    @cached_property
    def sources(self) -> Mapping[str, Sequence[tuple[AnnotatedImage, Instance]]]:
        """The annotated objects that points came from, by category.

        Where the file does not say (:attr:`has_sources`), those that a transfer would take.
        """
        images = {image.file: image for image in self.annotations.images}
        plain = self._without_suspicious() if self.is_check else self.annotations
        sources = {
            name: [(images[one.image.file], one.instance) for one in choose_supports(plain, category, 5)]
            for name, category in self.annotations.categories.items()
        }
        for category, recorded in self._recorded_sources().items():
            sources[category] = [
                (images[one.image], instance)
                for one in recorded
                if one.image in images
                for instance in images[one.image].instances
                if instance.category == category
                and instance.annotated
                and (one.annotation is None or one.annotation == instance.id)
            ]
        return sources

    def sources_of(self, one: ReviewObject) -> Sequence[tuple[AnnotatedImage, Instance]]:
        """The annotated objects that an object's points came from, as they are now."""
        if one.prediction.sources is None:
            return self.sources[one.state.category]
        by_position = {(other.image, other.position): other for other in self.all_objects}
        sources = []
        for image, position in one.prediction.sources:
            annotated, accepted = self.annotations.images[image], by_position.get((image, position))
            instance = annotated.instances[position]
            if accepted is not None:
                category = self.annotations.categories[accepted.state.category]
                instance = current_instance(accepted, category) or instance
            sources.append((annotated, instance))
        return sources

    @property
    def has_sources(self) -> bool:
        """Whether the file says which annotated objects points came from."""
        return bool(self._recorded_sources())

    def _without_suspicious(self) -> Annotations:
        """The annotations without the objects that a check lists, as examples to compare these with."""
        listed: dict[str, dict[int, Instance | None]] = {}
        for one in self.objects:
            listed.setdefault(self.image_of(one).file, {})[one.position] = None
        return dataclasses.replace(self.annotations, images=list(corrected_images(self.annotations, listed)))

    def _recorded_sources(self) -> Mapping[str, Sequence[_Source]]:
        if self.is_check:
            return {}  # it says where predicted points came from
        try:
            return _SOURCES.validate_python(self.info.get("sources", {}))
        except ValidationError:
            return {}  # another program's field

    @property
    def info(self) -> Mapping[str, Any]:
        """What the file says that it was made with."""
        info = self.annotations.document.get("semcorr")
        return info if isinstance(info, dict) else {}

    def corrected(self) -> Annotations:
        """The annotations with all objects as they are now."""
        with self._lock:
            changed: dict[str, dict[int, Instance | None]] = {}
            for one in self.all_objects:
                if is_changed(one, self.annotations.categories[one.instance.category]):
                    category = self.annotations.categories[one.state.category]
                    changed.setdefault(self.image_of(one).file, {})[one.position] = current_instance(one, category)
        own = find_format(self.annotations.format)
        if own.correct is not None:
            return own.correct(self.annotations, changed)
        return Annotations(
            path=self.annotations.path,
            categories=self.annotations.categories,
            images=list(corrected_images(self.annotations, changed)),
        )

    def write(self) -> list[Path]:
        """Write the corrected annotations, in the file's own format where it can hold them.

        Raises:
            ReviewError: The output exists and this review did not write it, or it cannot be written.
            RunError: The journal cannot be written.
        """
        with self._lock:
            for file in self._files():
                if file.exists() and not self._replace and content_hash([file]) not in self._written:
                    raise ReviewError(
                        f"{str(file)!r} exists, and this review did not write it. Start with another -o, or write over "
                        "it with --replace."
                    )
            options = ExportOptions(min_confidence=0.0, info=self.info)
            try:
                files = self.format.write(self.output, self.corrected(), tuple, options)
            except OSError as error:
                raise ReviewError(
                    f"{str(self.output)!r} cannot be written: {error.strerror or error}. All corrections are kept."
                ) from error
            self._add(written=frozenset(content_hash([file]) for file in files))
            return files

    def _files(self) -> list[Path]:
        """All files that are written."""
        return [self.output, *self.format.further_files(self.output, self.annotations)]

    def _apply(self, entry: Entry) -> None:
        self.revision = max(self.revision, entry.revision)
        if entry.written is not None:
            self._written = entry.written
        if entry.again is not None:
            changed = (
                [self.all_objects[change.number] for change in entry.changes] if entry.again == "predicted" else []
            )
            self._before = [Change(number=one.number, state=one.state, prediction=one.prediction) for one in changed]
            self._predicted_again = entry.revision
        for change in entry.changes:
            one = self.all_objects[change.number]
            one.state, one.revision = change.state, entry.revision
            one.prediction = change.prediction or one.prediction

    def _frame(self, image: int) -> tuple[int, int] | None:
        return coordinate_frame(self.annotations.images[image])

    def _check_output(self, path: Path) -> None:
        read = {one.resolve() for one in (path, *self.annotations.sources)}
        for file in self._files():
            if file.resolve() in read:
                raise ReviewError(f"{str(file)!r} is read from and cannot be written to. Choose another name.")
        if self.output.suffix.lower() != self.format.suffix:
            raise ReviewError(
                f"Expected a file name that ends in {self.format.suffix} for {self.format.title}, got "
                f"{str(self.output)!r}."
            )
