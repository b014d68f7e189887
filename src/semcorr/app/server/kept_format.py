"""What ``work.json`` holds: a work without its arrays, which lie in files beside it, each named once."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from semcorr.app.images import original_size
from semcorr.app.painting import DescribedRegions, Labels, Painting, TargetRegions
from semcorr.app.workspace import Decision, DescribedPoint, Match, Prediction, Workspace
from semcorr.imaging.image import Image
from semcorr.matchers.regions.results import RegionQuery
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

    def labels(self, name: str) -> Labels:
        """Read a label map."""

    def region_query(self, name: str) -> RegionQuery:
        """Read a region query."""


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


class _Region(_Model):
    label: int = Field(ge=1, le=255)
    name: str


class _Painting(_Model):
    labels: Name
    regions: tuple[_Region, ...]


class _DescribedRegions(_Model):
    query: Name
    made_with: str
    painted: Name


class _Confidence(_Model):
    label: int = Field(ge=1, le=255)
    confidence: FiniteFloat


class _TargetRegions(_Model):
    target: int
    labels: Name
    regions: tuple[_Confidence, ...]
    made_with: str
    painted: Name


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
    # Works of versions before have none of these.
    painting: _Painting | None = None
    described_regions: _DescribedRegions | None = None
    regions: tuple[_TargetRegions, ...] = ()


Kept = Query | Prediction | RegionQuery
"""What is kept in files that are named at random, as its hash is not known."""


def document_of(content: Content, name_of: Callable[[Kept], str]) -> Document:
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
        **_regions_of(work, name_of),
    )


def _regions_of(work: Workspace, name_of: Callable[[Kept], str]) -> dict[str, Any]:
    """The document's fields of the regions."""
    painting, described = work.painting, work.described_regions
    return {
        "painting": painting
        and _Painting(
            labels=painting.labels.sha256,
            regions=tuple(_Region(label=label, name=name) for label, name in painting.names.items()),
        ),
        "described_regions": described
        and _DescribedRegions(query=name_of(described.query), made_with=described.made_with, painted=described.painted),
        "regions": tuple(
            _TargetRegions(
                target=target,
                labels=one.labels.sha256,
                regions=tuple(_Confidence(label=label, confidence=value) for label, value in one.confidence.items()),
                made_with=one.made_with,
                painted=one.painted,
            )
            for target, one in work.regions.items()
        ),
    }


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
        **_read_regions(document, files),
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


def _read_regions(document: Document, files: Files) -> dict[str, Any]:
    """The workspace's fields of the regions."""
    painting, described = document.painting, document.described_regions
    return {
        "painting": painting
        and Painting(labels=files.labels(painting.labels), names={one.label: one.name for one in painting.regions}),
        "described_regions": described
        and DescribedRegions(
            query=files.region_query(described.query), made_with=described.made_with, painted=described.painted
        ),
        "regions": {
            one.target: TargetRegions(
                labels=files.labels(one.labels),
                confidence={region.label: region.confidence for region in one.regions},
                made_with=one.made_with,
                painted=one.painted,
            )
            for one in document.regions
        },
    }


def _check(work: Workspace) -> None:
    """Check that every result is one of a point and a target, and in its file, and every label map its image's.

    Raises:
        ValueError: It is not.
    """
    cells = {(target, point) for target in work.target_ids for point in work.ids}
    fits = (
        work.described.keys() <= set(work.ids)
        and work.matches.keys() | work.decisions.keys() <= cells
        and all(one.index < len(one.query.points) for one in work.described.values())
        and all(one.index < len(one.prediction.matches.points) for one in work.matches.values())
        and (work.source is not None or (not work.ids and work.painting is None))
        and (work.painting is not None or not work.regions)
        and work.regions.keys() <= set(work.target_ids)
    )
    if not fits:
        raise ValueError("results without their points, regions or targets")
    images = dict(zip(work.target_ids, work.targets, strict=True))
    maps = [(one.labels, images[target], set(one.confidence)) for target, one in work.regions.items()]
    if work.painting is not None and work.source is not None:
        maps.append((work.painting.labels, work.source, set(work.painting.names)))
    if any(labels.size != image.size or not labels.pixels.keys() <= {0, *known} for labels, image, known in maps):
        raise ValueError("labels that are not their image's")


def _image(image: Image) -> KeptImage:
    return KeptImage(file=image.sha256, name=image.name, original=original_size(image))
