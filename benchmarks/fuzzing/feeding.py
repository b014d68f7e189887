"""Feed a reader broken files, one after the other, and watch what comes of it: errors, warnings, time, memory."""

import contextlib
import hashlib
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks.fuzzing.target import Target
from semcorr.errors import SemcorrError

MOST_SECONDS = 5.0
MOST_MEGABYTES = 256.0
"""By how much one input may raise the process's peak of memory."""


class TooSlowError(BaseException):
    """An input took too long. No ``Exception``, so that no reader takes it for a broken file."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An input that came to something else than a result or one of our errors."""

    target: str
    number: int
    what: str
    where: str
    data: bytes


@dataclass(kw_only=True)
class Outcome:
    """What came of a target's inputs so far."""

    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    slowest: float = 0.0
    megabytes: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def feed(target: Target, count: int, seed: int, *, progress: Callable[[int], None] | None = None) -> Outcome:
    """Let a reader read ``count`` changed files; the same for the same seed.

    The valid files themselves are read first: a reader that refuses them is not being tested.

    Raises:
        SemcorrError: a valid file is refused.
    """
    outcome = Outcome()
    with TemporaryDirectory() as name:
        folder = Path(name)
        if target.prepare is not None:
            target.prepare(folder)
        file = folder / target.file
        file.parent.mkdir(parents=True, exist_ok=True)
        seeds = target.seeds()
        for data in seeds if target.whole else ():
            file.write_bytes(data)
            target.read(file)
        for number in range(count):
            random = Random(f"{seed} {target.name} {number}")  # noqa: S311  # inputs, no secrets
            data = random.choice(seeds)
            for _ in range(random.choice((1, 1, 1, 2))):
                data = _again(target, random, data)
            file.write_bytes(data)
            _judge(target, number, file, data, outcome)
            if progress is not None:
                progress(number + 1)
    return outcome


def _again(target: Target, random: Random, data: bytes) -> bytes:
    try:
        return target.mutate(random, data)
    except Exception:  # a mutation by structure of what an earlier one left without any
        return data


def _judge(target: Target, number: int, file: Path, data: bytes, outcome: Outcome) -> None:
    before, began = _peak(), time.perf_counter()
    what, where = "", ""
    try:
        with _limited(), warnings.catch_warnings(record=True) as leaked:
            warnings.simplefilter("always")
            target.read(file)
        outcome.accepted += 1
    except SemcorrError:
        outcome.refused += 1
    except TooSlowError as error:
        what, where = f"took more than {MOST_SECONDS:g} s", _location(error)
    except Exception as error:
        what, where = f"{type(error).__name__}: {str(error)[:200]}", _location(error)
    seconds, megabytes = time.perf_counter() - began, _peak() - before
    if not what and leaked:
        what, where = f"warned: {str(leaked[0].message)[:200]}", f"{Path(leaked[0].filename).name}:{leaked[0].lineno}"
    if not what and megabytes > MOST_MEGABYTES and number:
        what = f"took {megabytes:.0f} MB"
    outcome.inputs += 1
    outcome.slowest, outcome.megabytes = max(outcome.slowest, seconds), max(outcome.megabytes, megabytes)
    if what:
        outcome.findings.append(Finding(target=target.name, number=number, what=what, where=where, data=data))


def distinct(findings: list[Finding]) -> list[Finding]:
    """One finding for each location and kind."""
    return list({(one.target, one.where, one.what.split(":")[0]): one for one in reversed(findings)}.values())[::-1]


def keep(findings: list[Finding], folder: Path) -> None:
    """Write each finding's input, and what came of it beside."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in findings:
        slug = "".join(letter if letter.isalnum() else "-" for letter in one.target)
        name = f"{slug}-{hashlib.sha256(one.data).hexdigest()[:12]}"
        (folder / name).write_bytes(one.data)
        (folder / f"{name}.txt").write_text(
            f"{one.target}, input {one.number}\n{one.what}\n{one.where}\n", encoding="utf-8", errors="backslashreplace"
        )


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise ``TooSlowError`` when the time is up, where the system has such an alarm."""

    def ring(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _peak() -> float:
    """The process's highest memory so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _location(error: BaseException) -> str:
    """The innermost line in our own code, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "semcorr" in Path(frame.filename).parts]
    shown = ([own[-1]] if own else []) + ([frames[-1]] if frames else [])
    return " <- ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in shown)
