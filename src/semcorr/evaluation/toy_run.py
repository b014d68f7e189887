"""Run methods over the toy benchmark: resumable, one source picture a unit of work."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from semcorr.diffusion import DiffusionModel
from semcorr.errors import SettingsError
from semcorr.evaluation.toy import BASELINES, ToyPair, groups, scene_of, toy_pairs
from semcorr.progress import Progress
from semcorr.prompt import PromptMatcher
from semcorr.prompt.presets import preset
from semcorr.prompt.settings import override
from semcorr.toy.render import Split


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table: a model, a preset, and the settings that differ from it."""

    name: str
    model: str = "toy"
    preset: str = "paper"
    overrides: dict[str, object] = field(default_factory=dict)

    def load(self) -> PromptMatcher:
        """The matcher that this row measures, in float32 on the CPU."""
        model = DiffusionModel.from_pretrained(self.model, device="cpu")
        return PromptMatcher(model, override(preset(self.preset, model.family), **self.overrides))


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Which pairs are measured: 4 categories x ``sources`` x ``targets`` of a split's held-out seeds."""

    split: Split = "test"
    sources: int = 10
    targets: int = 8
    picture_size: int = 256

    def pairs(self) -> list[ToyPair]:
        """All pairs, in order."""
        return toy_pairs(self.split, sources=self.sources, targets=self.targets, size=self.picture_size)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one variant found: points of every pair in the benchmark's order, and the time it took.

    ``describe_seconds`` and ``locate_seconds`` are lists over source and target pictures, on one thread.
    """

    name: str
    predictions: list[np.ndarray]
    describe_seconds: list[float]
    locate_seconds: list[float]


def ablations(model: str = "toy", preset: str = "paper", layer: str = "up/1:0") -> list[Variant]:
    """The method, and the paper's three design choices, each switched off (paper, section 3.3)."""
    no_crops: dict[str, object] = {"learn_crop": 1.0, "locate_crop": 1.0, "locate_crops": 1}
    return [
        Variant(name="the method", model=model, preset=preset),
        Variant(name="no crops", model=model, preset=preset, overrides=no_crops),
        Variant(name="one embedding", model=model, preset=preset, overrides={"rounds": 1}),
        Variant(name=f"one layer ({layer})", model=model, preset=preset, overrides={"layers": (layer,)}),
    ]


def run_baselines(benchmark: Benchmark) -> list[Outcome]:
    """The guesses that need no model."""
    pairs = benchmark.pairs()
    return [
        Outcome(name=name, predictions=[guess(pair) for pair in pairs], describe_seconds=[], locate_seconds=[])
        for name, guess in BASELINES.items()
    ]


def run_variant(
    benchmark: Benchmark, variant: Variant, folder: Path, *, workers: int = 1, progress: Progress | None = None
) -> Outcome:
    """Run one variant, or what is missing of it: finished sources are read from ``folder``.

    Every source is one line of a JSON-lines file that is named after the benchmark, the model and the whole
    settings, so a kill loses at most the sources in flight and other settings never mix.

    Raises:
        SettingsError: an unknown preset or setting.
        ModelError: the model cannot be loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    matcher = variant.load()
    key = {"benchmark": asdict(benchmark), "model": matcher.model.fingerprint, "settings": matcher.settings.to_dict()}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"{_slug(variant.name)}-{digest}.jsonl"
    path.with_suffix(".json").write_text(json.dumps({"name": variant.name, **key}, indent=2), encoding="utf-8")
    done, pairs = _finished(path), benchmark.pairs()
    units = [(source, of_source) for source, of_source in groups(pairs) if source not in done]
    total = len(done) + len(units)
    with path.open("a", encoding="utf-8") as file:
        for record in _work(variant, units, workers):
            done[record["source"]] = record
            file.write(json.dumps(record) + "\n")
            file.flush()
            if progress:
                progress(variant.name, len(done), total)
    return _outcome(variant.name, pairs, done)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def _finished(path: Path) -> dict[int, dict]:
    """Records of whole lines; a line that a kill cut short is dropped and done again."""
    if not path.exists():
        return {}
    done, whole = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[record["source"]] = record
        whole.append(line)
    # Under another name first: a second kill must not take what the first one left.
    rewritten = path.with_suffix(".part")
    rewritten.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    rewritten.replace(path)
    return done


def _work(variant: Variant, units: Sequence[tuple[int, list[ToyPair]]], workers: int) -> Iterator[dict]:
    if not units:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(variant,)) as pool:
        futures = [pool.submit(_unit, source, pairs) for source, pairs in units]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_LOADED: list[PromptMatcher] = []
"""In a worker process: the model, loaded once. A process pool's initializer has no other place to leave it."""


def _start(variant: Variant) -> None:
    torch.set_num_threads(1)
    _LOADED.append(variant.load())


def _unit(source_seed: int, pairs: list[ToyPair]) -> dict:
    """Describe a source's points once (all that any of its pairs needs) and locate them in every target."""
    matcher, first = _LOADED[-1], pairs[0]
    points = {name: tuple(at) for pair in pairs for name, at in zip(pair.names, pair.source_points, strict=True)}
    names = sorted(points)
    record: dict = {"source": source_seed, "names": names, "targets": {}, "describe": 0.0, "locate": []}
    if not names:
        return record
    source = scene_of(first.split, source_seed, first.category, first.picture_size)
    began = time.perf_counter()
    query = matcher.describe(source.image, [points[name] for name in names])
    record["describe"] = time.perf_counter() - began
    for pair in pairs:
        target = scene_of(pair.split, pair.target_seed, pair.category, pair.picture_size)
        began = time.perf_counter()
        matches = matcher.locate(query, target.image)
        record["locate"].append(time.perf_counter() - began)
        record["targets"][str(pair.target_seed)] = matches.points.tolist()
    return record


def _outcome(name: str, pairs: list[ToyPair], done: dict[int, dict]) -> Outcome:
    predictions = []
    for pair in pairs:
        record = done[pair.source_seed]
        found = dict(zip(record["names"], record["targets"].get(str(pair.target_seed), []), strict=False))
        predictions.append(np.array([found[n] for n in pair.names], dtype=np.float64).reshape(-1, 2))
    return Outcome(
        name=name,
        predictions=predictions,
        describe_seconds=[r["describe"] / max(1, len(r["names"])) for r in done.values()],
        locate_seconds=[s for r in done.values() for s in r["locate"]],
    )


def check_benchmark(benchmark: Benchmark) -> None:
    """Refuse a benchmark without pairs.

    Raises:
        SettingsError: fewer than one source or target.
    """
    if benchmark.sources < 1 or benchmark.targets < 1:
        raise SettingsError(
            f"expected at least 1 source and 1 target, got {benchmark.sources} and {benchmark.targets}."
        )
