"""Broken and hostile files for every reader, a few of each; ``python -m benchmarks.fuzz`` feeds them many more."""

import contextlib
import json
import warnings
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import app, shared
from benchmarks.fuzzing import feeding, mutate
from benchmarks.fuzzing.target import Target
from benchmarks.fuzzing.targets import targets
from semcorr.cli.options import parse_settings
from semcorr.datasets.mat import read_numbers
from semcorr.errors import SemcorrError

QUICK = [target for target in targets() if target.weight > 0.1]
SHARES = shared(QUICK, 1_500)


@pytest.mark.parametrize("target", QUICK, ids=lambda target: target.name)
def test_no_reader_gives_way(target: Target) -> None:
    outcome = feeding.feed(target, SHARES[target.name], 12)
    assert [(one.what, one.where, one.data[:200]) for one in outcome.findings] == []
    assert outcome.inputs == outcome.refused + outcome.accepted == SHARES[target.name]


@pytest.mark.slow
@pytest.mark.parametrize("target", [one for one in targets() if one.weight <= 0.1], ids=lambda one: one.name)
def test_no_reader_of_networks_gives_way(target: Target) -> None:
    assert [(one.what, one.where) for one in feeding.feed(target, 20, 12).findings] == []


def test_the_same_seed_gives_the_same_files() -> None:
    def files(seed: int) -> list[bytes]:
        read: list[bytes] = []
        plain = Target(
            name="plain",
            seeds=lambda: (b'{"a": [1, 2]}',),
            mutate=mutate.json_of,
            file="file",
            read=lambda path: read.append(path.read_bytes()),
        )
        feeding.feed(plain, 20, seed)
        return read

    assert files(1) == files(1) != files(2)


def _reader(path: Path) -> None:
    data = path.read_bytes()
    if data == b"crash":
        raise IndexError(7)
    if data == b"warn":
        warnings.warn("odd", UserWarning, stacklevel=1)
    if data == b"hang":
        while True:
            pass
    if data == b"refuse":
        raise SemcorrError("no")


def test_what_counts_as_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "MOST_SECONDS", 0.2)
    kinds = iter((b"crash", b"warn", b"hang", b"refuse", b"fine"))
    target = Target(
        name="a reader", seeds=lambda: (b"seed",), mutate=lambda random, data: next(kinds), file="file", read=_reader
    )
    monkeypatch.setattr(feeding, "_again", lambda target, random, data: data if data != b"seed" else next(kinds))
    outcome = feeding.feed(target, 5, 0)
    assert [one.what.split(":")[0] for one in outcome.findings] == ["IndexError", "warned", "took more than 0.2 s"]
    assert (outcome.refused, outcome.accepted) == (1, 2)  # what only warned was read
    feeding.keep(outcome.findings, tmp_path / "numbers")
    assert {path.read_bytes() for path in (tmp_path / "numbers").glob("*") if not path.suffix} == {
        b"crash",
        b"warn",
        b"hang",
    }


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = app(["--inputs", "20", "--reader", "COCO", "-o", str(tmp_path / "fuzz")], exit_on_error=False)
    assert status == 0
    assert "COCO" in capsys.readouterr().out
    with pytest.raises(SemcorrError, match="Did you mean 'COCO'"):
        app(["--reader", "COCOO"], exit_on_error=False)


def test_a_lying_safetensors_header_is_among_the_mutations() -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = len(header).to_bytes(8, "little") + header + b"\0" * 4
    made = {mutate.safetensors_of(Random(number), data)[:8] for number in range(60)}  # noqa: S311
    assert (2**64 - 1).to_bytes(8, "little") in made or (1 << 40).to_bytes(8, "little") in made


@given(st.lists(st.text(), max_size=4))
@settings(max_examples=100)
def test_settings_are_read_or_refused(texts: list[str]) -> None:
    with contextlib.suppress(SemcorrError):
        assert len(parse_settings(texts)) == len(texts)


@given(st.binary(max_size=200), st.sampled_from([b"IM", b"MI"]))
@settings(max_examples=200)
def test_mat_files_are_read_or_refused(data: bytes, order: bytes) -> None:
    try:
        numbers = read_numbers(b"\0" * 126 + order + data, "pts_coord")
    except ValueError:
        return
    assert numbers is None or numbers.dtype == float
