"""The arithmetic of the printed figures against numbers made by hand."""

import pytest

from benchmarks.method_cost import PLAIN, Measured, Stage
from benchmarks.partial_timing import Cost
from benchmarks.speed_figures import (
    Spread,
    Verdict,
    extra_point,
    per_point,
    per_step,
    per_target,
    seconds,
    share_of_rate,
    short,
    spread,
    times_faster,
    verdicts,
)

STEPS = {PLAIN: 10, "paper": 10, "fast": 4}


def _cost(seconds: float, flops: float = 0.0, passes: float = 0.0) -> Cost:
    return Cost(seconds=seconds, flops=flops, passes=passes, encodes=0, units=1, timed=1)


def _round(**costs: Cost) -> dict[tuple[str, Stage, int], Measured]:
    """``plain_describe_1=...``: what each method took for a stage and a number of points."""
    measured: dict[tuple[str, Stage, int], Measured] = {}
    for name, cost in costs.items():
        method, stage, points = name.split("_")
        assert stage in ("describe", "locate")
        measured[method, stage, int(points)] = Measured(
            method=method, stage=stage, points=int(points), cost=cost, peak_bytes=None
        )
    return measured


FIRST = _round(
    plain_describe_1=_cost(1000.0),
    plain_describe_10=_cost(10_000.0),
    plain_locate_10=_cost(300.0),
    paper_describe_1=_cost(200.0),
    paper_describe_10=_cost(1000.0),
    fast_describe_1=_cost(20.0),
    fast_describe_10=_cost(50.0),
    fast_locate_10=_cost(10.0),
)
# The machine was twice as slow for all of the second repeat, and for "fast" a little more.
SECOND = {key: Measured(**{**vars(m), "cost": _cost(2 * m.cost.seconds)}) for key, m in FIRST.items()}
SECOND["fast", "describe", 10] = FIRST["fast", "describe", 10].__class__(
    method="fast", stage="describe", points=10, cost=_cost(125.0), peak_bytes=None
)


def test_seconds_are_divided_by_what_they_were_spent_on():
    assert per_step(10, STEPS).of(FIRST, PLAIN) == pytest.approx(100.0)
    assert per_step(10, STEPS).of(FIRST, "fast") == pytest.approx(50 / 40)
    assert per_point(10).of(FIRST, "fast") == pytest.approx(5.0)
    assert per_target(10).of(FIRST, "fast") == pytest.approx(10.0)
    assert per_target(1).of(FIRST, "fast") is None


def test_a_speed_up_compares_times_of_the_same_repeat():
    assert times_faster(per_step(1, STEPS), [FIRST, SECOND], "paper") == Spread(low=5.0, middle=5.0, high=5.0)
    figure = times_faster(per_point(10), [FIRST, SECOND], "fast")
    assert figure == Spread(low=160.0, middle=180.0, high=200.0)
    assert seconds(per_point(10), [FIRST, SECOND], "fast") == Spread(low=5.0, middle=8.75, high=12.5)
    assert times_faster(per_target(1), [FIRST], "fast") is None


def test_what_a_further_point_takes_is_the_difference():
    counted = _round(fast_locate_1=_cost(0, 100.0, 20.0), fast_locate_10=_cost(0, 118.0, 20.0))
    assert extra_point(counted, "fast", "flops") == pytest.approx(2.0)
    assert extra_point(counted, "fast", "passes") == 0
    assert extra_point(counted, "paper", "flops") is None


def test_the_share_of_the_rate():
    counted = _round(paper_describe_1=_cost(0, 4e12))
    figure = share_of_rate(counted, [FIRST, SECOND], "paper", "describe", 1, {"paper": 1e11})
    assert figure == Spread(low=10.0, middle=15.0, high=20.0)


def test_verdicts_hold_figures_against_the_aims():
    counted = _round(
        plain_describe_1=_cost(0, 2790.0),
        paper_describe_1=_cost(0, 1000.0),
        plain_describe_10=_cost(0, 27_900.0),
        paper_describe_10=_cost(0, 15_000.0),
        fast_locate_1=_cost(0, 5, 20),
        fast_locate_10=_cost(0, 6, 20),
    )
    rates = dict.fromkeys(STEPS, 1e11)
    figure = verdicts(counted, [FIRST, SECOND], exact="paper", fast="fast", steps=STEPS, rates=rates, gpu=False)
    figures = {one.text: (one.figure.middle, one.aim, one.reached) for one in figure}
    assert figures == {
        "Operations a step, paper / plain, 1 point": (pytest.approx(1000 / 2790), 0.4, True),
        "Operations a step, paper / plain, 10 points": (pytest.approx(1500 / 2790), 0.4, False),
        "paper, times faster, a step, 1 point described": (5.0, 4.0, True),
        "paper, times faster, a step, 10 points described": (10.0, 4.0, True),
        "fast, times faster, a described point, 1 point at once": (50.0, 100.0, False),
        "fast, times faster, a described point, 10 points at once": (180.0, 100.0, True),
        "fast, times faster, a target, 10 points located": (30.0, 20.0, True),
        "fast, U-Net passes for a further point on the same target": (0, 0, True),
    }
    gpu = verdicts(counted, [FIRST], exact="paper", fast="fast", steps=STEPS, rates=rates, gpu=True)
    assert [one.aim for one in gpu] == [0.4, 0.4, 20, 20, 500, 500, 20, 45, 0]
    none = verdicts(counted, [FIRST], exact="paper", fast="none", steps=STEPS, rates=rates, gpu=False)
    assert len(none) == 4


def test_a_verdict_reads_as_a_line():
    line = Verdict(text="paper, a step", figure=spread([4.2, 3.9, 5.0]), aim=4)
    assert str(line) == "paper, a step: 4.20 (3.90 to 5.00); aim at full size: at least 4, reached"
    assert not Verdict(text="", figure=spread([0.41]), aim=0.4, at_most=True).reached


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (99.94, "99.9"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123"),
     (0.001234, "0.00123"), (-2.5, "-2.50")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str):
    assert short(value) == text
