"""What a run would take before anyone spends it: hours, memory and disk, from counts of calls and what one takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.datasets.base import Dataset
from semcorr.datasets.benchmark import Benchmark
from semcorr.errors import SettingsError
from semcorr.evaluation.runs.records import PairRecord
from semcorr.evaluation.runs.unit_costs import UnitCosts
from semcorr.evaluation.runs.units import units_of
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.storage.record_store import Shard

SIZE = (500, 375)
"""(width, height) of a picture where no data set tells: a photograph as the benchmarks have them."""

POINTS = 8
"""Points of a pair where no data set tells."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What there is to do.

    Attributes:
        name: of the data set, or of a transfer.
        describes, describe_points: pictures that are described, and the points of all of them.
        locates, locate_points: calls that look into a picture, and the points of all of them.
        pictures: different ones that are looked into.
        size: (width, height) of a usual one.
        assumed: what was not counted, in words.
        transfer: whether points are carried over to pictures without annotations.
    """

    name: str
    describes: int
    describe_points: int
    locates: int
    locate_points: int
    pictures: int
    size: tuple[int, int] = SIZE
    assumed: tuple[str, ...] = ()
    transfer: bool = False

    @property
    def points_a_call(self) -> int:
        """Of a usual call that locates, from 2 on."""
        return max(2, round(self.locate_points / self.locates))


def of_dataset(dataset: Dataset) -> Workload:
    """Count what :func:`semcorr.evaluation.runs.runner.run` would do, on pairs that were read."""
    units = list(units_of(dataset, Shard(), set()))
    pairs = dataset.pairs
    return Workload(
        name=f"{dataset.name} {dataset.split}: {len(pairs):,} pairs",
        describes=len(units),
        describe_points=sum(len(unit.points) for unit in units),
        locates=len(pairs),
        locate_points=sum(len(pair.names) for pair in pairs),
        pictures=len({pair.target.path for pair in pairs}),
        size=pairs[0].target.size if pairs else SIZE,
    )


def of_known(
    spec: Benchmark, split: str | None = None, setting: str | None = None, points: int | None = None
) -> Workload:
    """What is known of a benchmark that is not on this machine.

    Raises:
        SettingsError: how many pairs it has is not known.
    """
    split, setting = split or spec.default_split, setting or spec.settings[0]
    known = spec.known.get((split, setting))
    if known is None or known.pairs is None:
        raise SettingsError(
            f"How many pairs {spec.title} ({split}) has is not known without it: name its folder with --data. To get "
            f"it: semcorr data download {spec.name}."
        )
    sources = fewest_pictures(known.by_category or {"": known.pairs})
    each = points or known.points_per_pair or POINTS
    assumed = [f"{sources:,} pictures: the fewest that have so many ordered pairs in each category"]
    if each != known.points_per_pair:
        assumed.append(f"{each} points a pair and a picture; with --data they are counted")
    return Workload(
        name=f"{spec.name} {split}: {known.pairs:,} pairs",
        describes=sources,
        describe_points=sources * each,
        locates=known.pairs,
        locate_points=known.pairs * each,
        pictures=sources,
        assumed=tuple(assumed),
    )


def of_targets(targets: int, points: int, support: int) -> Workload:
    """A transfer of ``points`` points from ``support`` annotated pictures to ``targets`` others: one call each."""
    return Workload(
        name=f"transfer: {targets:,} targets, {points} points from {support} annotated pictures",
        describes=support,
        describe_points=support * points,
        locates=targets,
        locate_points=targets * support * points,
        pictures=targets,
        assumed=("each target is looked into once for the points of all annotated pictures",),
        transfer=True,
    )


def fewest_pictures(pairs: Mapping[str, int]) -> int:
    """The fewest pictures that have so many ordered pairs within each category: n make n (n - 1)."""
    return sum(int(np.ceil((1 + np.sqrt(1 + 4 * count)) / 2)) for count in pairs.values())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A workload at the costs of its calls.

    Attributes:
        work, costs: what there is to do, and what a call of it takes.
        devices: that share the work.
        rate: operations a second that one sustains, where operations were counted.
        keep_queries, keep_latents: whether these stay on disk.
    """

    work: Workload
    costs: UnitCosts
    devices: int = 1
    rate: float | None = None
    keep_queries: bool = False
    keep_latents: bool = False

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise SettingsError(f"Expected at least 1 of --gpus, got {self.devices}.")
        if self.costs.counted != (self.rate is not None) or (self.rate is not None and not self.rate > 0):
            raise SettingsError("Expected a rate above 0 for operations that were counted, and none for seconds.")

    @property
    def describe(self) -> float:
        """Seconds or operations of describing all pictures, on all devices together."""
        work, costs = self.work, self.costs
        return work.describes * costs.describe_call + work.describe_points * costs.describe_point

    @property
    def locate(self) -> float:
        """Seconds or operations of locating all points, on all devices together."""
        return self.work.locates * self.costs.locate_call + self.work.locate_points * self.costs.locate_point

    def hours(self, total: float) -> float:
        """Hours by the clock of so many seconds or operations."""
        return total / (self.rate or 1.0) / self.devices / 3600

    def disk(self) -> Iterator[tuple[str, int]]:
        """What lies on a disk, and its bytes."""
        work, costs = self.work, self.costs
        yield "weights, as they are loaded", costs.weight_bytes
        each = work.locate_points / work.locates / (work.describes if work.transfer else 1)
        line = record_bytes(round(each), costs.columns, transfer=work.transfer)
        yield "records", work.locates * line * (2 if work.transfer else 1)
        if self.keep_queries:
            yield "queries", work.describe_points * costs.query_point_bytes
        if self.keep_latents:
            learned = work.describes if costs.crops_shared else work.describe_points
            located = work.pictures if costs.crops_shared else work.locate_points
            yield "latents", costs.latent_bytes * (learned * costs.optimize_crops + located * costs.locate_crops)

    def assumptions(self) -> Iterator[str]:
        """What the figures rest on."""
        yield from self.work.assumed
        costs = self.costs
        if costs.counted:
            assert self.rate is not None  # noqa: S101  # held on making it
            yield (
                f"operations were counted on this machine, and every device does {self.rate / 1e12:g} TFLOP/s, all "
                "losses included; what is no product of matrices counts as nothing"
            )
        else:
            yield f"every device is as fast as this one ({costs.device}) is now, with {costs.points} points at once"
        yield "devices share the work evenly; starting workers, loading models and reading pictures are left out"
        if self.work.transfer:
            yield "a record is written twice: in the journal and in the output"
        if not costs.crops_shared:
            yield "no two embeddings draw the same crop: each is encoded anew, which is the most that it can be"

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON: hours, bytes, and what they come from."""
        return {
            "work": {**vars(self.work), "size": list(self.work.size), "assumed": list(self.work.assumed)},
            "costs": vars(self.costs),
            "devices": self.devices,
            "rate": self.rate,
            "describe_hours": self.hours(self.describe),
            "locate_hours": self.hours(self.locate),
            "device_hours": self.devices * self.hours(self.describe + self.locate),
            "disk_bytes": dict(self.disk()),
            "assumptions": list(self.assumptions()),
        }


def record_bytes(points: int, columns: int, *, transfer: bool) -> int:
    """Bytes of a record of so many points, with ``columns`` further places of each, made as a run makes it."""
    places, sure = np.full((points, 2), 123.456789012345), np.full(points, 0.1234567890123456)
    names = tuple(f"point {number}" for number in range(points))
    file = "category/2008_000000.jpg"
    if transfer:
        found = PredictedObject(category="category", names=names, points=places, confidence=sure)
        return (
            len(TransferRecord(file=file, path=Path("data/images") / file, size=SIZE, objects=(found,)).to_json()) + 1
        )
    record = PairRecord(
        index=10_000,
        pair="000001-2008_000000-2008_000001:category",
        category="category",
        names=names,
        flags=dict.fromkeys(("viewpoint", "scale", "truncation", "occlusion"), 1),
        source=file,
        target=file,
        source_size=SIZE,
        target_size=SIZE,
        source_box=(100.0, 100.0, 300.0, 300.0),
        target_box=(100.0, 100.0, 300.0, 300.0),
        source_points=np.round(places),  # annotators' own are whole
        truth=np.round(places),
        predicted=places,
        confidence=sure,
        layers={f"up_blocks.{number}.attentions.0": places for number in range(columns)},
        describe_seconds=12.345678901234567,
        locate_seconds=1.2345678901234567,
    )
    return len(record.to_json()) + 1
