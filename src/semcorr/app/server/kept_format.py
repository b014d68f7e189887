"""What ``work.json`` holds: a work without its arrays, which lie in files beside it, each named once."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from semcorr.app.images import original_size
from semcorr.app.workspace import Decision, DescribedPoint, Match, Prediction, Workspace
from semcorr.imaging.image import Image
from semcorr.matchers.results import Query

FORMAT: Literal["semcorr-work"] = "semcorr-work"
VERSION: Literal[1] = 1

Name = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]
"""A file's name without its suffix; nothing that leads out of the folder."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What is kept of a work.

    Attributes:
        revision: How many steps it has had.
        work: The present workspace.
        methods: Method and preset of the last run, on images and on an example's.
        unchanged_example: Whether the workspace is an example as it was loaded.
        words_image: The image of the tab *Words*.
        words_example: Whether that is an example's.
        words_prompt: Its prompt.
    """

    revision: int
    work: Workspace
    methods: dict[bool, tuple[str, str | None]] = dataclasses.field(default_factory=dict)
    unchanged_example: bool = False
    words_image: Image | None = None
    words_example: bool = False
    words_prompt: str = ""


@runtime_checkable
class Files(Protocol):
    """Reads the files of a work by their names."""

    def image(self, kept: "KeptImage") -> Image:
        """Read an image."""

    def query(self, name: str) -> Query:
        """Read a query."""

    def prediction(self, name: str, image: Image) -> Prediction:
        """Read a prediction in a target."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeptImage(_Model):
    """An image: its file, its name for people, and its size before it was scaled down, as in the file if not."""

    file: Name
    name: str
    original: tuple[int, int]


class _Point(_Model):
    id: int
    x: FiniteFloat
    y: FiniteFloat


class _Target(_Model):
    id: int
    image: KeptImage


class _Described(_Model):
    point: int
    query: Name
    index: int = Field(ge=0)
    label: str


class _Match(_Model):
    target: int
    point: int
    prediction: Name
    image: KeptImage
    index: int = Field(ge=0)
    label: str


class _Decision(_Model):
    target: int
    point: int
    x: FiniteFloat
    y: FiniteFloat
    how: Literal["corrected", "accepted"]


class _Methods(_Model):
    example: bool
    method: str
    preset: str | None


class _Words(_Model):
    image: KeptImage | None
    example: bool
    prompt: str


class Document(_Model):
    """The file."""

    format: Literal["semcorr-work"] = FORMAT
    version: Literal[1] = VERSION
    revision: int = Field(ge=0)
    example: bool
    unchanged_example: bool
    source: KeptImage | None
    points: tuple[_Point, ...]
    names: tuple[str, ...]
    targets: tuple[_Target, ...]
    described: tuple[_Described, ...]
    matches: tuple[_Match, ...]
    decisions: tuple[_Decision, ...]
    methods: tuple[_Methods, ...]
    words: _Words


def document_of(content: Content, name_of: Callable[[Query | Prediction], str]) -> Document:
    """The document of a work; ``name_of`` gives the name of the file of a query or a prediction."""
    work = content.work
    return Document(
        revision=content.revision,
        example=work.example,
        unchanged_example=content.unchanged_example,
        source=None if work.source is None else _image(work.source),
        points=tuple(_Point(id=id_, x=x, y=y) for id_, (x, y) in zip(work.ids, work.points, strict=True)),
        names=work.names,
        targets=tuple(
            _Target(id=id_, image=_image(image)) for id_, image in zip(work.target_ids, work.targets, strict=True)
        ),
        described=tuple(
            _Described(point=id_, query=name_of(one.query), index=one.index, label=one.label)
            for id_, one in work.described.items()
        ),
        matches=tuple(
            _Match(
                target=target,
                point=point,
                prediction=name_of(match.prediction),
                image=_image(match.prediction.image),
                index=match.index,
                label=match.label,
            )
            for (target, point), match in work.matches.items()
        ),
        decisions=tuple(
            _Decision(target=target, point=point, x=one.point[0], y=one.point[1], how=one.how)
            for (target, point), one in work.decisions.items()
        ),
        methods=tuple(
            _Methods(example=example, method=method, preset=preset)
            for example, (method, preset) in content.methods.items()
        ),
        words=_Words(
            image=None if content.words_image is None else _image(content.words_image),
            example=content.words_example,
            prompt=content.words_prompt,
        ),
    )


def content_of(document: Document, files: Files) -> Content:
    """The work of a document.

    Raises:
        SemcorrError: A file is missing or broken.
        ValueError: The document does not fit its files.
    """
    work = Workspace(
        source=None if document.source is None else files.image(document.source),
        points=tuple((one.x, one.y) for one in document.points),
        ids=tuple(one.id for one in document.points),
        names=document.names,
        targets=tuple(files.image(one.image) for one in document.targets),
        target_ids=tuple(one.id for one in document.targets),
        described={
            one.point: DescribedPoint(query=files.query(one.query), index=one.index, label=one.label)
            for one in document.described
        },
        matches={
            (one.target, one.point): Match(
                prediction=files.prediction(one.prediction, files.image(one.image)), index=one.index, label=one.label
            )
            for one in document.matches
        },
        decisions={(one.target, one.point): Decision(point=(one.x, one.y), how=one.how) for one in document.decisions},
        example=document.example,
    )
    _check(work)
    return Content(
        revision=document.revision,
        work=work,
        methods={one.example: (one.method, one.preset) for one in document.methods},
        unchanged_example=document.unchanged_example,
        words_image=None if document.words.image is None else files.image(document.words.image),
        words_example=document.words.example,
        words_prompt=document.words.prompt,
    )


def _check(work: Workspace) -> None:
    """Check that every result is one of a point and a target, and in its file.

    Raises:
        ValueError: It is not.
    """
    cells = {(target, point) for target in work.target_ids for point in work.ids}
    fits = (
        work.described.keys() <= set(work.ids)
        and work.matches.keys() | work.decisions.keys() <= cells
        and all(one.index < len(one.query.points) for one in work.described.values())
        and all(one.index < len(one.prediction.matches.points) for one in work.matches.values())
        and (work.source is not None or not work.ids)
    )
    if not fits:
        raise ValueError("results without their points or targets")


def _image(image: Image) -> KeptImage:
    return KeptImage(file=image.sha256, name=image.name, original=original_size(image))
