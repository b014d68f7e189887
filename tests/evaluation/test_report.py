"""Tables of runs: their figures, their text in every format, and what they warn of."""

import csv
import io
import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from evaluation.handmade import pair_record, run_of
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.groups import ReportOptions, with_baselines
from semcorr.evaluation.report.published import PUBLISHED, quoted
from semcorr.evaluation.report.tables import Report
from semcorr.evaluation.runs.records import PairRecord


def record(index: int, category: str, offsets: list[float] | None, **changes: Any) -> PairRecord:
    """A pair whose true points are (10, 50), (20, 50), ...; the predictions are ``offsets`` pixels to its right.

    The target's box is 100 long, so that offsets are percents of the threshold's size.
    """
    count = 2 if offsets is None else len(offsets)
    fields: dict[str, Any] = {
        "category": category,
        "names": ("eye", "tail", "paw")[:count],
        "source": f"{index}.png",
        "source_size": (200, 100),
        "target_size": (200, 100),
        "source_box": (0.0, 0.0, 100.0, 50.0),
        "target_box": (0.0, 0.0, 100.0, 50.0),
        "describe_seconds": 2.0,
        "locate_seconds": 0.5,
    }
    truth = [(10 * number, 50) for number in range(1, count + 1)]
    predicted = None if offsets is None else [(offset, 0) for offset in offsets]
    return pair_record(index, truth, predicted, **(fields | changes))


# At 0.1: cat 1 of 2 and 1 of 1, dog 0 of 2; at 0.05 cat 0 of 2 and 1 of 1. A pair of dogs has no points.
GOOD = run_of(
    "good",
    [
        record(0, "cat", [10, 11], flags={"viewpoint": 0}),
        record(1, "cat", [5], flags={"viewpoint": 2}),
        record(2, "dog", [40, 30], flags={"viewpoint": 2}),
        record(3, "dog", [], flags={"viewpoint": 0}),
    ],
    method={"settings": {"rounds": 5}},
)
# The same pairs: 0 of 2, 1 of 1, failed.
BAD = run_of(
    "bad",
    [
        record(0, "cat", [20, 20], flags={"viewpoint": 0}),
        record(1, "cat", [0], flags={"viewpoint": 2}),
        record(2, "dog", None, flags={"viewpoint": 2}),
        record(3, "dog", [], flags={"viewpoint": 0}),
    ],
    method={"settings": {"rounds": 5}},
)


def values(report: Report, key: str) -> dict[str, Any]:
    """A column of all tables that have it, by the rows' names."""
    rows = [row for table in report.document()["tables"] for row in table["rows"]]
    return {row["name"]: row["values"][key] for row in rows if key in row["values"]}


def test_overall_by_hand() -> None:
    """Good at 0.1: per image (1/2 + 1 + 0) / 3, per point 2/5. Bad: (0 + 1 + 0) / 3 and 1/5."""
    report = build_report([GOOD, BAD])
    assert values(report, "pck@0.1 per image") == {"good": 50.0, "bad": pytest.approx(100 / 3, abs=1e-5)}
    assert values(report, "pck@0.1 per point") == {"good": 40.0, "bad": 20.0}
    assert values(report, "pck@0.05 per point") == {"good": 20.0, "bad": 20.0}
    assert values(report, "points") == {"good": 5, "bad": 5}
    assert values(report, "pairs") == {"good": 4, "bad": 4}
    assert values(report, "pairs without points") == {"good": 1, "bad": 1}
    assert values(report, "failed pairs") == {"good": 0, "bad": 1}
    # (0.1 + 0.11 + 0.05 + 0.4 + 0.3) / 5; of the bad run's found points (0.2 + 0.2 + 0) / 3.
    assert values(report, "mean error") == {"good": 0.192, "bad": pytest.approx(0.4 / 3, abs=1e-5)}
    assert values(report, "median error") == {"good": 0.11, "bad": 0.2}
    # To 0.2: 0.1 + 0.09 + 0.15 of 5 points.
    assert values(report, "auc@0.2 per point")["good"] == pytest.approx(100 * 0.34 / 5 / 0.2)


def test_intervals_are_those_of_pck() -> None:
    """At 0.1 1 of 2, 1 of 1 and 0 of 2 points are right, and a pair has none."""
    counts = pck.Counts(right=np.array([[1], [1], [0], [0]]), total=np.array([2, 1, 2, 0]))
    ((low, high),) = pck.intervals(counts).per_point
    assert values(build_report([GOOD]), "pck@0.1 per point 95%")["good"] == pytest.approx([100 * low, 100 * high])


def test_lead_draws_the_same_pairs() -> None:
    report = build_report([GOOD, BAD], ReportOptions(baseline="bad", alphas=(0.1,)))
    assert values(report, "lead@0.1 per point") == {"good": 20.0, "bad": 0.0}
    assert values(report, "lead@0.1 per image") == {"good": pytest.approx(50 / 3, abs=1e-5), "bad": 0.0}
    assert values(report, "lead@0.1 per point 95%")["bad"] == [0, 0]
    with pytest.raises(SettingsError, match=r"no run 'bat' to compare with\. Did you mean 'bad'"):
        build_report([GOOD, BAD], ReportOptions(baseline="bat"))


def test_lead_over_other_pairs_is_on_the_common_ones() -> None:
    """Without pair 2, good has 2 of 3 right and bad 1 of 3."""
    part = replace(BAD, records=[r for r in BAD.records if r.index != 2], expected=3)
    report = build_report([GOOD, part], ReportOptions(baseline="bad", alphas=(0.1,)))
    assert values(report, "lead@0.1 per point")["good"] == pytest.approx(100 / 3, abs=1e-5)
    assert "not of the same pairs (3 in common)" in report.warnings[0]


def test_categories() -> None:
    report = build_report([GOOD, BAD], ReportOptions(by=("category",), alphas=(0.1,)))
    good = values(report, "good pck@0.1 per image")
    assert good == {"cat": 75, "dog": 0, "mean of the categories": 37.5, "all points": 50}
    assert values(report, "bad pck@0.1 per point")["cat"] == pytest.approx(100 / 3, abs=1e-5)
    assert [row.values[0] for row in report.tables[0].rows] == [3, 2, 5, 5]
    assert report.tables[0].title == (
        "toy test, 4 pairs, 5 points: PCK@0.1 in %, per image, target box, original pixels, by category"
    )


def test_flags_points_and_sets() -> None:
    options = ReportOptions(by=("difficulty",), alphas=(0.1,))
    assert values(build_report([GOOD], options), "good pck@0.1 per point") == {
        "viewpoint 0": 50,
        "viewpoint 2": pytest.approx(100 / 3, abs=1e-5),
        "all points": 40,
    }
    one_flag = values(build_report([GOOD], ReportOptions(by=("viewpoint",), alphas=(0.1,))), "good pck@0.1 per point")
    assert list(one_flag) == ["viewpoint 0", "viewpoint 2", "all points"]
    points = values(build_report([GOOD], ReportOptions(by=("point",), alphas=(0.1,))), "good pck@0.1 per point")
    assert points == {"eye": pytest.approx(200 / 3, abs=1e-5), "tail": 0, "all points": 40}
    options = ReportOptions(by=("sets",), alphas=(0.1,), point_sets={"without a word": {"tail", "rump"}})
    assert values(build_report([GOOD], options), "good pck@0.1 per point") == {"without a word": 0, "all points": 40}


def test_ablations_from_one_run() -> None:
    """After 1 embedding nothing is right, after 2 what the run found; the other run has none of that."""
    records = [
        replace(r, rounds={"1": r.truth + 90, "2": r.predicted}, layers={"up/1": r.truth}, crops={"1": r.truth})
        for r in GOOD.records
    ]
    other = replace(GOOD, name="plain")
    options = ReportOptions(by=("rounds", "layer", "crops"), alphas=(0.1,))
    report = build_report([replace(GOOD, records=records), other], options)
    per_point = [table for table in report.document()["tables"] if "per point" in table["title"]]
    key = "good pck@0.1 per point"
    tables = [{row["name"]: row["values"][key] for row in table["rows"]} for table in per_point]
    assert tables == [
        {"1": 0, "2": 40, "the run's own": 40},
        {"up/1": 100, "the run's own": 40},
        {"1": 100, "the run's own": 40},
    ]
    assert values(report, "plain pck@0.1 per point") == {"1": None, "2": None, "up/1": None, "the run's own": 40}


def test_unknown_grouping() -> None:
    with pytest.raises(SettingsError, match=r"Unknown grouping 'viewpont'\. Did you mean 'viewpoint'"):
        build_report([GOOD], ReportOptions(by=("viewpont",)))
    with pytest.raises(SettingsError, match="at least one run"):
        build_report([])
    with pytest.raises(SettingsError, match="positive alphas"):
        ReportOptions(alphas=(0.1, -1))


# --- formats ----------------------------------------------------------------------------------------------------------


def test_csv_has_one_line_a_run() -> None:
    rows = list(csv.DictReader(io.StringIO(build_report([GOOD, BAD], ReportOptions(baseline="bad")).csv())))
    assert [row["name"] for row in rows] == ["good", "bad"]
    assert float(rows[0]["lead@0.1 per point"]) == float(rows[0]["pck@0.1 per point"]) - 20
    assert rows[1]["failed pairs"] == "1"


def test_json_parsed_back() -> None:
    report = build_report([GOOD, BAD], ReportOptions(by=("overall", "category")))
    assert json.loads(report.json()) == report.document()


def test_terminal() -> None:
    console = Console(width=160, file=io.StringIO(), markup=False)
    for table in build_report([replace(GOOD, name="[red]x"), BAD]).tables:
        console.print(table.rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x" in text
    assert all(len(line) <= 160 for line in text.splitlines())
    assert "…" not in text


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "json"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000))
def test_the_order_on_disk_has_no_influence(form: str, seed: int) -> None:
    shuffled = list(GOOD.records)
    random.Random(seed).shuffle(shuffled)  # noqa: S311  # no secret
    options = ReportOptions(by=("overall", "category", "point", "difficulty"), alphas=(0.1,))
    texts = [getattr(build_report([one], options), form)() for one in (GOOD, replace(GOOD, records=shuffled))]
    assert texts[0] == texts[1]


def test_times_only_on_request() -> None:
    """Seconds differ; everything else must not. 4 pairs of 2 s for 5 points; 3 located pairs of 0.5 s."""
    slow = replace(GOOD, records=[replace(r, describe_seconds=99.0, locate_seconds=9.0) for r in GOOD.records])
    assert build_report([GOOD]).json() == build_report([slow]).json()
    timed = build_report([GOOD], ReportOptions(times=True))
    assert values(timed, "s to describe a point") == {"good": pytest.approx(8 / 5)}
    assert values(timed, "s to locate a pair") == {"good": pytest.approx(0.5)}


def test_a_report_names_no_machine() -> None:
    report = build_report([GOOD, BAD], ReportOptions(by=("overall", "category", "point"), times=True))
    assert "somewhere" not in report.json() + report.markdown()


# --- what is compared -------------------------------------------------------------------------------------------------


def test_runs_of_one_name_are_numbered() -> None:
    assert list(values(build_report([GOOD, GOOD]), "pairs")) == ["good", "good (2)"]


def test_warnings() -> None:
    part = replace(BAD, records=BAD.records[:3], expected=4)
    assert build_report([GOOD, part]).warnings == (
        "bad is not finished: 3 of 4 pairs.",
        "bad: 1 pair failed, all of their points count as wrong.",
        "good (4 pairs) and bad (3 pairs) are not of the same pairs (3 in common): their figures are not comparable.",
    )
    moved = replace(GOOD, name="moved", records=[replace(r, truth=r.truth + 1) for r in GOOD.records])
    # The pair without points is the same in both.
    assert "(1 in common)" in build_report([GOOD, moved]).warnings[0]
    other = run_of("other", GOOD.records, dataset={"threshold": "image"})
    assert build_report([GOOD, other]).warnings == (
        "good and other have other settings of the data set (threshold: target-box and image).",
    )
    assert build_report([GOOD, replace(GOOD, name="again")]).warnings == ()


def test_data_sets_have_tables_of_their_own() -> None:
    report = build_report([GOOD, run_of("val", GOOD.records, dataset={"split": "val"})])
    assert [table.dataset for table in report.tables] == ["toy test"] * 3 + ["toy val"] * 3
    assert report.warnings == (
        "The runs are of different data sets, whose figures are not comparable: toy test; toy val.",
    )


def test_each_data_set_has_its_own_rule() -> None:
    willow = run_of("willow", GOOD.records, dataset={"name": "pf-willow", "threshold": "keypoints"})
    report = build_report([GOOD, willow])
    protocols = {table.dataset: table.protocol for table in report.tables}
    assert protocols["pf-willow test"] == "extent of the key-points, original pixels"
    assert protocols["toy test"] == "target box, original pixels"
    everywhere = build_report([GOOD], ReportOptions(threshold="image", frame="squash"))
    assert everywhere.tables[0].protocol == "image side, squashed to 512 × 512"
    assert everywhere.notes == (
        "The data set's own rule is target box, original pixels; these figures are under image side, squashed to "
        "512 × 512.",
    )


def test_settings_in_which_runs_of_a_method_differ() -> None:
    one = run_of("one", GOOD.records, method={"settings": {"rounds": 1}})
    baseline = run_of("same", GOOD.records, method={"name": "same-position"})
    assert build_report([GOOD, one, baseline]).notes == ("Runs of prompt differ in settings.rounds: good 5, one 1.",)


def test_baselines_beside_a_run() -> None:
    """The source's points are the target's: the same position is always right, also where the method failed."""
    runs = with_baselines([BAD])
    assert [one.name for one in runs] == ["bad", "same-position", "same-box-position", "random", "oracle-grid"]
    report = build_report(runs, ReportOptions(baseline="same-position", alphas=(0.1,)))
    assert values(report, "pck@0.1 per point")["same-position"] == 100
    assert values(report, "lead@0.1 per point")["bad"] == -80
    assert values(report, "failed pairs")["same-position"] == 0
    boxless = replace(BAD, records=[replace(r, source_box=None, target_box=None) for r in BAD.records])
    assert [one.name for one in with_baselines([boxless])] == ["bad", "same-position", "random", "oracle-grid"]
    there = [GOOD, run_of("mine", GOOD.records, method={"name": "random"})]
    assert [one.name for one in with_baselines(there)].count("random") == 0


# --- quoted figures ---------------------------------------------------------------------------------------------------

SPAIR = run_of("mine", GOOD.records, dataset={"name": "spair-71k"})


def quoted_rows(report: Report, key: str) -> dict[str, Any]:
    rows = [row for table in report.document()["tables"] for row in table["rows"] if row["quoted"]]
    return {row["name"]: row["values"].get(key) for row in rows if row["values"].get(key) is not None}


def test_quoted_figures_stand_under_their_own_protocol() -> None:
    report = build_report([SPAIR])
    assert quoted_rows(report, "pck@0.1 per image")["quoted: Hedlin et al. 2023"] == 45.4
    assert quoted_rows(report, "pck@0.1 per point") == {
        "quoted: DIFT": 59.5,
        "quoted: DINOv2-B NN": 55.6,
        "quoted: SD+DINOv2": 64.0,
        "quoted: CleanDIFT + pose alignment": 69.99,
        "quoted: DiTF-FLUX, raw features": 29.9,
        "quoted: DiTF-FLUX, adaptive layer norm": 65.3,
        "quoted: DiTF-FLUX": 67.1,
        "quoted: DINOv3-B": 46.8,
        "quoted: DINOv3-B without position (INSID3)": 52.6,
    }
    assert quoted_rows(report, "pck@0.05 per image") == {
        "quoted: CHM, strong": 27.2,
        "quoted: VAT, strong": 35.0,
        "quoted: Hedlin et al. 2023": 28.9,
        "quoted: DIFT": 39.7,
        "quoted: DINOv2-B NN": 38.4,
        "quoted: SD+DINOv2": 44.7,
        "quoted: Spherical maps, pose": 48.2,
        "quoted: DIY-SC, orientation model, no human labels": 51.2,
        "quoted: DIY-SC, pose": 53.8,
        "quoted: 3D-SC, no human labels": 54.8,
        "quoted: MARCO, key-points": 77.6,
    }
    finest = build_report([SPAIR], ReportOptions(alphas=(0.01,)))
    assert quoted_rows(finest, "pck@0.01 per image")["quoted: DIFT"] == 7.2
    assert not quoted_rows(finest, "pck@0.01 per point")
    assert not quoted_rows(report, "pck@0.05 per point")
    assert not quoted_rows(build_report([SPAIR], ReportOptions(alphas=(0.15,))), "pck@0.15 per image")
    assert not quoted_rows(build_report([SPAIR], ReportOptions(quote=False)), "pck@0.1 per image")
    assert not quoted_rows(build_report([GOOD]), "pck@0.1 per image")


def test_quoted_figures_of_another_protocol_are_warned_of() -> None:
    warnings = "\n".join(build_report([SPAIR]).warnings)
    assert (
        "Quoted under another protocol (reference-spair (source box), squashed to 512 × 512; here target box, original "
        "pixels): Hedlin et al. 2023." in warnings
    )
    assert "Quoted figures are of all 12,234 pairs of spair-71k test, the runs here of 4." in warnings
    assert "does not say which average they are: CHM" in warnings
    reference = "\n".join(build_report([SPAIR], ReportOptions(threshold="reference-spair")).warnings)
    assert "here reference-spair (source box), squashed to 512 × 512): Hedlin" not in reference
    assert "(target box, original pixels; here reference-spair" in reference


def test_the_published_tables_are_whole() -> None:
    """43 figures of the paper's Table 1, 68 that arXiv 2605.30093 collects, and 11 others."""
    table_1 = [figure for figure in PUBLISHED if figure.source == "the paper's Table 1"]
    collected = [figure for figure in PUBLISHED if figure.source.startswith("arXiv 2605.30093")]
    assert (len(table_1), len(collected), len(PUBLISHED)) == (43, 68, 122)
    assert all(figure.mark == "quoted" for figure in PUBLISHED)
    assert {figure.averaging for figure in collected} == {"per image"}
    assert {f.averaging_stated for f in collected if f.by == "overall"} == {True}
    # No row of a table has two figures of one kind, whatever their sources.
    assert len({(f.label, f.dataset, f.setting, f.by, f.alpha, f.averaging) for f in PUBLISHED}) == len(PUBLISHED)
    own = {(f.dataset, f.alpha): f.value for f in table_1 if f.method.startswith("Hedlin")}
    assert own == {
        ("cub-200-2011", 0.05): 61.6,
        ("cub-200-2011", 0.1): 77.5,
        ("pf-willow", 0.05): 53.0,
        ("pf-willow", 0.1): 84.3,
        ("spair-71k", 0.05): 28.9,
        ("spair-71k", 0.1): 45.4,
    }
    dift = {(f.dataset, f.setting, f.by, f.alpha): f.value for f in collected if f.method == "DIFT"}
    assert dift == {
        ("spair-71k", "", "overall", 0.01): 7.2,
        ("spair-71k", "", "overall", 0.05): 39.7,
        ("spair-71k", "", "overall", 0.1): 52.9,
        ("spair-71k", "", "geo", 0.1): 42.5,
        ("ap-10k", "intra-species", "overall", 0.1): 50.3,
        ("ap-10k", "cross-species", "overall", 0.1): 46.0,
        ("ap-10k", "cross-family", "overall", 0.1): 35.0,
        ("spair-u", "", "overall", 0.1): 47.4,
    }


@pytest.mark.parametrize(
    ("name", "setting", "count"),
    [
        *(("spair-71k", "", 49), ("SPair", "", 49), ("pf_willow", "", 20), ("spair-u", "", 9)),
        *(("ap10k", "cross-family", 9), ("ap10k", "", 0), ("toy", "", 0)),
    ],
)
def test_quoted_by_a_data_set_of_another_spelling(name: str, setting: str, count: int) -> None:
    assert len(quoted(name, setting)) == count


def test_figures_of_cub_stand_under_their_own_protocol() -> None:
    """The paper's with its pairs, per image; ASIC's with its own, per point; the others' protocol is not stated."""
    tables = {}
    for setting in ("released", "asic"):
        one = run_of("mine", GOOD.records, dataset={"name": "cub", "setting": setting})
        report = build_report([one], ReportOptions(alphas=(0.1,)))
        tables[setting] = [quoted_rows(report, f"pck@0.1 {average}") for average in ("per image", "per point")]
        assert "(protocol not stated): VGG+MLS; DINO+MLS; DINO+NN." in "\n".join(report.warnings)
    others = {"quoted: VGG+MLS": 25.8, "quoted: DINO+MLS": 67.0, "quoted: DINO+NN": 68.3}
    assert tables["released"] == [others | {"quoted: Hedlin et al. 2023": 77.5}, {}]
    assert tables["asic"] == [others, {"quoted: ASIC": 75.9}]


def test_what_has_no_points_has_no_figure() -> None:
    """Neither 0 nor NaN: null in JSON, a dash in tables, nothing in CSV; and a warning says why."""
    empty = [record(0, "cat", []), record(1, "dog", [])]
    runs = [run_of(name, empty, method={"settings": {}}) for name in ("one", "two")]
    options = ReportOptions(by=("overall", "category", "point", "difficulty"), baseline="one")
    report = build_report(runs, options)
    assert any("no common visible points" in warning for warning in report.warnings)
    document = json.loads(report.json())
    counted = ("points", "pairs", "pairs without points", "failed pairs")
    for table in document["tables"]:
        for row in table["rows"]:
            if not row["quoted"]:
                assert all(value is None for key, value in row["values"].items() if key not in counted), table["title"]
    assert values(report, "points")["cat"] == 0
    assert values(report, "pairs without points")["one"] == 2
    assert "nan" not in (report.csv() + report.markdown()).lower().replace("finance", "")
    assert "0.0" not in report.markdown().replace("0.05", "")


def test_a_category_without_points_is_shown_without_figures() -> None:
    """The mean of the categories is of those that have points."""
    run = run_of("one", [record(0, "cat", [5]), record(1, "dog", [])], method={"settings": {}})
    report = build_report([run], ReportOptions(by=("category",), alphas=(0.1,)))
    assert values(report, "one pck@0.1 per point") == {
        "cat": 100, "dog": None, "mean of the categories": 100, "all points": 100,
    }  # fmt: skip


def test_runs_without_common_pairs_have_no_lead() -> None:
    first, second = (run_of(name, [record(n, "cat", [5])]) for n, name in enumerate(("one", "two")))
    report = build_report([first, second], ReportOptions(alphas=(0.1,), baseline="one"))
    assert values(report, "lead@0.1 per point") == {"one": 0, "two": None}
