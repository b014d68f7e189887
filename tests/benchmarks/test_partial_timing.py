import numpy as np
import pytest

from benchmarks.partial_timing import Cost, Draws, Reading, Trace, corners, follow
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress

NONE = Draws(positions=None, rows=5)


def _steps(count: int, *, rows: int = 5, start: float = 7.0, step: float = 2.0, encodes: int = 0) -> list[Reading]:
    """A call that does something for ``start`` seconds, then steps of ``rows`` rows, ``encodes`` images in each."""
    return [
        Reading(
            done=rows * n,
            seconds=start + (step + encodes * 3.0) * n,
            flops=int(100 + (10 + encodes * 50) * n),
            passes=20 + rows * n,
            encodes=encodes * n,
            encode_seconds=3.0 * encodes * n,
            encode_flops=50 * encodes * n,
        )
        for n in range(1, count + 1)
    ]


def test_a_finished_call_costs_what_it_took():
    readings = (*_steps(4), Reading(done=20, seconds=16.0, flops=150, passes=40))
    cost = Trace(readings=readings, total=20, finished=True).cost(NONE)
    assert cost == Cost(seconds=16.0, flops=150, passes=40, encodes=0, units=20, timed=20)
    assert cost.whole


def test_a_stopped_call_is_multiplied_out_and_what_is_done_once_is_in_it_once():
    cost = Trace(readings=tuple(_steps(3)), total=500, finished=False).cost(NONE)
    assert cost.seconds == pytest.approx(7 + 2 * 100)
    assert cost.flops == pytest.approx(100 + 10 * 100)
    assert cost.passes == pytest.approx(20 + 500)
    assert (cost.timed, cost.units, cost.whole) == (15, 500, False)


def test_encodings_are_counted_by_how_many_crops_there_are():
    draws = Draws(positions=100, rows=5)
    cost = Trace(readings=tuple(_steps(2, encodes=5)), total=5000, finished=False).cost(draws)
    assert cost.encodes == pytest.approx(100, rel=1e-6)  # all there are, long before 5,000 draws
    assert cost.seconds == pytest.approx(7 + 2 * 1000 + 3 * 100, rel=1e-6)


def test_a_bank_is_encoded_once_however_many_units_follow():
    bank = [Reading(done=r.done, seconds=r.seconds + 60, encodes=20, encode_seconds=60.0) for r in _steps(3)]
    trace = Trace(readings=tuple(bank), total=500, finished=False)
    for units in (500, 5000):
        assert trace.cost(Draws(positions=1296, rows=units // 100), units).encodes == 20
    assert trace.cost(NONE).seconds == pytest.approx(60 + 7 + 2 * 100)


def test_a_few_steps_do_not_make_more_crops_than_there_are():
    # Twelve crops for all rows: six of the first ten steps' crops are new, and there are at most six more to come.
    readings = [Reading(done=5 * (n + 1), seconds=float(n), encodes=min(n + 1, 6)) for n in range(10)]
    trace = Trace(readings=tuple(readings), total=5000, finished=False)
    assert trace.cost(Draws(positions=12, rows=5)).encodes == pytest.approx(12)
    assert trace.cost(Draws(positions=4, rows=5)).encodes == 6  # never fewer than were seen


def test_crops_that_all_rows_share_are_encoded_once_for_all():
    # 50 rows: four corners, one encoding each; then one for each row, or one for all rows.
    def locating(each: int) -> Trace:
        encodes = [1, 2, 3, 4, 4 + each, 4 + 2 * each]
        readings = [Reading(done=50 * (n + 1), seconds=float(n + 1), encodes=count) for n, count in enumerate(encodes)]
        return Trace(readings=tuple(readings), total=1000, finished=False)

    draws = Draws(positions=10**9, rows=50, shared=4)
    assert locating(50).cost(draws).encodes == pytest.approx(4 + 16 * 50, rel=1e-3)
    assert locating(1).cost(draws).encodes == pytest.approx(20)


def test_different_crops_are_expected_as_often_as_they_are_drawn():
    rng, positions, draws = np.random.default_rng(0), 36, 60
    drawn = [len(set(rng.integers(positions, size=draws).tolist())) for _ in range(2000)]
    expected = Draws(positions=positions, rows=1).different(draws)
    assert expected == pytest.approx(np.mean(drawn), rel=0.01)
    assert Draws(positions=None, rows=1).different(60) == 60
    assert Draws(positions=36, rows=10, shared=4).different(40) == 4
    assert (corners(0.9), corners(1.0)) == (4, 1)


def test_a_call_without_a_start_is_known_from_one_step():
    reading = Reading(done=1, seconds=4.0, flops=10, passes=1, encodes=1, encode_seconds=1.0, encode_flops=2)
    cost = Trace(readings=(reading,), total=645, finished=False, startless=True).cost(Draws(positions=None, rows=5))
    assert cost.seconds == pytest.approx(4 * 645)
    assert cost.flops == pytest.approx(10 * 645)
    assert cost.encodes == pytest.approx(645)


def test_a_call_that_tells_nothing_costs_what_it_took():
    trace = Trace(readings=(Reading(seconds=2.0, passes=4),), total=0, finished=True)
    assert trace.cost(NONE, 100).seconds == 2.0


class _Call:
    """Reports ten steps; what it did before is reported under another name."""

    def __init__(self) -> None:
        self.reached = 0

    def __call__(self, progress: Progress) -> str:
        progress("encode", 1, 1)
        for step in range(1, 11):
            self.reached = step
            progress("optimize", 3 * step, 30, loss=0.0)
        return "done"


def test_a_call_that_is_quick_is_followed_to_its_end(tiny_model: DiffusionModel):
    calls = []
    trace, result = follow(
        _Call(), "optimize", tiny_model, longest=60, least=2, draws=NONE, progress=lambda *what, **_: calls.append(what)
    )
    assert (result, trace.finished, trace.total) == ("done", True, 30)
    assert [reading.done for reading in trace.readings] == [*range(3, 33, 3), 30]
    assert len(calls) == 11


def test_a_call_that_takes_too_long_is_stopped_when_enough_is_known(tiny_model: DiffusionModel):
    call = _Call()
    trace, result = follow(call, "optimize", tiny_model, longest=0, least=4, draws=NONE)
    assert (result, trace.finished, call.reached) == (None, False, 4)
    assert trace.cost(NONE).units == 30


def test_errors_of_the_call_come_through(tiny_model: DiffusionModel):
    def broken(_: Progress) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        follow(broken, "optimize", tiny_model, longest=1, least=1, draws=NONE)
