"""The hours, memory and disk that a run takes, estimated before it: counts of calls times the cost of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from semcorr.datasets.base import Dataset
from semcorr.datasets.benchmark import Benchmark
from semcorr.errors import SettingsError
from semcorr.evaluation.runs.unit_costs import UnitCosts
from semcorr.evaluation.runs.units import units_of
from semcorr.storage.record_store import Shard

SIZE = (500, 375)
"""(width, height) of an image if no data set says otherwise: a photograph of the benchmarks."""

POINTS = 8
"""Points of a pair if no data set says otherwise."""

_RUN_RECORD, _RUN_POINT, _RUN_COLUMN = 500, 100, 19
_TRANSFER_RECORD, _TRANSFER_POINT = 180, 70
"""Bytes of a record, of each of its points, and of each alternative prediction of a point, as records usually have."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The work of a run.

    Attributes:
        name: The data set, or the transfer.
        describes, describe_points: The number of images that are described, and of all their points.
        locates, locate_points: The number of calls that locate points in an image, and of all their points.
        images: The number of different images that points are located in.
        size: (width, height) of a usual image.
        assumed: What was assumed, not counted.
        transfer: Whether points are transferred to images without annotations.
    """

    name: str
    describes: int
    describe_points: int
    locates: int
    locate_points: int
    images: int
    size: tuple[int, int] = SIZE
    assumed: tuple[str, ...] = ()
    transfer: bool = False

    @property
    def points_per_call(self) -> int:
        """Points of a usual call that locates, at least 2."""
        return max(2, round(self.locate_points / self.locates))


def of_dataset(dataset: Dataset) -> Workload:
    """Count the calls of :func:`semcorr.evaluation.runs.runner.run` on pairs that were read."""
    units = list(units_of(dataset, Shard(), set()))
    pairs = dataset.pairs
    return Workload(
        name=f"{dataset.name} {dataset.split}: {len(pairs):,} pairs",
        describes=len(units),
        describe_points=sum(len(unit.points) for unit in units),
        locates=len(pairs),
        locate_points=sum(len(pair.names) for pair in pairs),
        images=len({pair.target.path for pair in pairs}),
        size=pairs[0].target.size if pairs else SIZE,
    )


def of_known(
    spec: Benchmark, split: str | None = None, setting: str | None = None, points: int | None = None
) -> Workload:
    """Take the published size of a benchmark that is not on this machine.

    Raises:
        SettingsError: How many pairs it has is not known.
    """
    split, setting = split or spec.default_split, setting or spec.settings[0]
    known = spec.known.get((split, setting))
    if known is None or known.pairs is None:
        raise SettingsError(
            f"How many pairs {spec.title} ({split}) has is not known without it: name its folder with --data. To get "
            f"it: semcorr data download {spec.name}."
        )
    sources = fewest_images(known.by_category or {"": known.pairs})
    each = points or known.points_per_pair or POINTS
    assumed = [f"{sources:,} images: the fewest that have so many ordered pairs in each category"]
    if each != known.points_per_pair:
        assumed.append(f"{each} points per pair and image; with --data they are counted")
    return Workload(
        name=f"{spec.name} {split}: {known.pairs:,} pairs",
        describes=sources,
        describe_points=sources * each,
        locates=known.pairs,
        locate_points=known.pairs * each,
        images=sources,
        assumed=tuple(assumed),
    )


def of_targets(targets: int, points: int, support: int) -> Workload:
    """A transfer of ``points`` points from ``support`` annotated images to ``targets`` others, one call each."""
    return Workload(
        name=f"transfer: {targets:,} targets, {points} points from {support} annotated images",
        describes=support,
        describe_points=support * points,
        locates=targets,
        locate_points=targets * support * points,
        images=targets,
        assumed=("one call per target for the points of all annotated images",),
        transfer=True,
    )


def fewest_images(pairs: Mapping[str, int]) -> int:
    """The fewest images that have so many ordered pairs within each category: n make n (n - 1)."""
    return sum(int(np.ceil((1 + np.sqrt(1 + 4 * count)) / 2)) for count in pairs.values())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A workload at the costs of its calls.

    Attributes:
        work, costs: The number of calls, and the cost of each.
        devices: The number of devices that share the work.
        rate: Operations per second of one device, if operations were counted.
        keep_queries: Whether queries stay on the disk.
    """

    work: Workload
    costs: UnitCosts
    devices: int = 1
    rate: float | None = None
    keep_queries: bool = False

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise SettingsError(f"Expected at least 1 of --gpus, got {self.devices}.")
        if self.costs.counted != (self.rate is not None) or (self.rate is not None and not self.rate > 0):
            raise SettingsError("Expected a rate above 0 for operations that were counted, and none for seconds.")

    @property
    def describe(self) -> float:
        """Seconds or operations to describe all images, on all devices together."""
        work, costs = self.work, self.costs
        return work.describes * costs.describe_call + work.describe_points * costs.describe_point

    @property
    def locate(self) -> float:
        """Seconds or operations to locate all points, on all devices together."""
        return self.work.locates * self.costs.locate_call + self.work.locate_points * self.costs.locate_point

    def hours(self, total: float) -> float:
        """Hours by the clock of so many seconds or operations."""
        return total / (self.rate or 1.0) / self.devices / 3600

    def disk(self) -> dict[str, int]:
        """Bytes on the disk, by what they are of."""
        work, costs = self.work, self.costs
        if work.transfer:  # once in the journal, once in the output
            points = work.locate_points // work.describes
            records = 2 * (work.locates * _TRANSFER_RECORD + points * _TRANSFER_POINT)
        else:
            records = work.locates * _RUN_RECORD + work.locate_points * (_RUN_POINT + _RUN_COLUMN * costs.columns)
        queries = {"queries": work.describe_points * costs.query_point_bytes} if self.keep_queries else {}
        return {"weights, as they are loaded": costs.weight_bytes, "records": records, **queries}

    def assumptions(self) -> Iterator[str]:
        """What the figures rest on."""
        yield from self.work.assumed
        costs = self.costs
        if costs.counted:
            assert self.rate is not None  # noqa: S101  # checked by __post_init__
            yield (
                f"operations were counted on this machine, and every device does {self.rate / 1e12:g} TFLOP/s, all "
                "losses included; only products of matrices are counted"
            )
        else:
            yield f"every device is as fast as this one ({costs.device}) is now, with {costs.points} points at once"
        yield "devices share the work evenly; starting workers, loading models and reading images are left out"
        yield "records have the usual size" + (", in the journal and in the output" if self.work.transfer else "")

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
            "disk_bytes": self.disk(),
            "assumptions": list(self.assumptions()),
        }
