"""Measures of key-points that look alike: the geometry-aware subset and PCK†, against figures made by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.handmade import pair_record, run_of
from semcorr.datasets.ap10k import POINTS
from semcorr.datasets.registry import BENCHMARKS
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.alike import geometry_aware, nearest_only
from semcorr.evaluation.metrics.protocol import Protocol, named
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.report.tables import Table
from semcorr.evaluation.runs.records import PairRecord

BOX = {"target_box": (0.0, 0.0, 100.0, 100.0)}


def cat(index: int, names: tuple[str, ...], offsets: Any, **changes: Any) -> PairRecord:
    """A pair of cats with points at (10, 50), (20, 50), ...; of 9 to 12, the paws, 2 and 3, the ears, and others."""
    truth = [(10.0 * number, 50.0) for number in range(1, len(names) + 1)]
    return pair_record(index, truth, offsets, names=names, **(BOX | changes))


def test_the_subset_is_what_the_target_shows_twice() -> None:
    """Paws 9 and 12 see each other; ear 2 sees ear 3, which the source does not show; eye 4 looks like nothing."""
    records = [
        cat(0, ("9", "4", "12"), [(0, 0)] * 3),
        cat(1, ("2", "9"), [(0, 0)] * 2, target_unmatched={"3": (1.0, 2.0)}),
        cat(2, ("2", "9"), [(0, 0)] * 2, source_unmatched={"3": (1.0, 2.0)}),
    ]
    mask = geometry_aware(score(records, Protocol()), "spair")
    assert mask.tolist() == [True, False, True, True, False, False, False]


def test_groups_are_of_the_category_and_the_data_set() -> None:
    dogs = [cat(0, ("9", "10"), [(0, 0)] * 2, category="bottle")]
    assert not geometry_aware(score([cat(0, ("8", "9"), [(0, 0)] * 2)], Protocol()), "spair").any()
    assert not geometry_aware(score(dogs, Protocol()), "spair").any()
    animal = [cat(0, ("left knee", "right elbow", "left eye", "right eye"), [(0, 0)] * 4, category="Felidae")]
    assert geometry_aware(score(animal, Protocol()), "ap10k").tolist() == [True, True, False, False]
    with pytest.raises(SettingsError, match=r"no published groups .* for 'spair-u'.* have one: spair, ap10k\."):
        geometry_aware(score(animal, Protocol()), "spair-u")


def test_every_group_is_of_points_that_the_data_set_has() -> None:
    """No key-point is in two groups, and every category of SPair-71k has some."""
    similar = BENCHMARKS["spair"].similar_points
    assert similar is not None
    for category in BENCHMARKS["spair"].known["test", ""].by_category:
        grouped = [name for group in similar(category) for name in group]
        assert len(grouped) == len(set(grouped)) > 1
        assert all(0 <= int(name) < 30 for name in grouped)
    animals = BENCHMARKS["ap10k"].similar_points
    assert animals is not None
    assert {name for group in animals("cat") for name in group} == set(POINTS[5:])


def test_a_point_nearer_to_another_is_wrong() -> None:
    """Points are 10 apart: 6 to the right is nearer to the next one, except from the last; 5 is as near to both."""
    records = [cat(0, ("a", "b", "c"), [(6, 0), (5, 0), (6, 0)]), cat(1, ("a", "b"), None)]
    scores = score(records, Protocol())
    np.testing.assert_allclose(scores.errors, [0.06, 0.05, 0.06, np.inf, np.inf])
    np.testing.assert_allclose(nearest_only(scores).errors, [np.inf, 0.05, 0.06, np.inf, np.inf])


def test_nearer_in_the_frame_of_the_protocol() -> None:
    """(21, 0) is 11 from (10, 0) and 21.9 from (30, 20); squashed from 100 x 400 to 512 x 512, 56.3 and 52.7."""
    record = pair_record(0, [(10.0, 0.0), (30.0, 20.0)], [(11, 0), (0, 0)], target_size=(100, 400), **BOX)
    for frame, wrong in (("original", [False, False]), ("squash", [True, False])):
        assert np.isinf(nearest_only(score([record], named("target-box", frame))).errors).tolist() == wrong


def tables_of(by: str, records: list[PairRecord], **options: Any) -> tuple[Table, ...]:
    run = run_of("mine", records, dataset={"name": "spair"})
    return build_report([run], ReportOptions(by=(by,), alphas=(0.01, 0.1), **options)).tables


def test_the_subset_in_a_report() -> None:
    """Of two paws one is right at 0.1, of a pair of ears both are, per image (1/2 + 1) / 2; the eyes do not count."""
    records = [
        cat(0, ("9", "4", "12"), [(10, 0), (80, 0), (11, 0)]),
        cat(1, ("2", "3"), [(0.5, 0), (1.5, 0)]),
        cat(2, ("4",), [(80, 0)]),
    ]
    (table,) = tables_of("geo", records)
    assert table.title.startswith("spair test, 3 pairs, 6 points: PCK of geometry-aware points in %, target box")
    values = {column.key: value for column, value in zip(table.columns, table.rows[0].values, strict=True)}
    assert values["points"] == 4
    assert values["pck@0.1 per image"] == pytest.approx(75)
    assert values["pck@0.1 per point"] == pytest.approx(75)
    assert values["pck@0.01 per image"] == pytest.approx(25)
    quoted = {row.name: row.values for row in table.rows if row.quoted}
    assert quoted["quoted: DIFT"] == (None, *[None] * 4, 42.5, None, None, None)
    assert "quoted: Spherical maps, pose" not in quoted
    assert not any(row.quoted for one in tables_of("geo", records, quote=False) for row in one.rows)
    both = build_report([run_of("mine", records, dataset={"name": "spair"})], ReportOptions(by=("overall", "geo")))
    assert any("does not say which average they are: " in one and "; DIFT (geo); " in one for one in both.warnings)
    assert not any("which average they are" in one and "; DIFT;" in one for one in both.warnings)
    for more, warned in (({}, True), ({"target_unmatched": {"5": (1.0, 1.0)}}, False)):
        run = run_of("mine", [*records[:2], replace(records[2], **more)], dataset={"name": "spair"})
        said = build_report([run], ReportOptions(by=("geo",))).warnings
        assert any(one.startswith("mine: no record holds a key-point that only the target") for one in said) is warned


def test_the_dagger_in_a_report() -> None:
    (table,) = tables_of("pck-dagger", [cat(0, ("a", "b", "c"), [(6, 0), (5, 0), (6, 0)])])
    values = {column.heading: value for column, value in zip(table.columns, table.rows[0].values, strict=True)}
    assert (values["points"], values["PCK†@0.1 per point"]) == (3, pytest.approx(200 / 3))
    assert "PCK$\\dagger$@0.1 per point" in table.latex()
    assert not any(row.quoted for row in table.rows)


def test_what_one_image_shows_alone_is_in_the_record() -> None:
    record = cat(0, ("9",), [(0, 0)], source_unmatched={"2": (1.0, 2.5)}, target_unmatched={"3": (3.0, 4.0)})
    again = PairRecord.from_json(record.to_json())
    assert (again.source_unmatched, again.target_unmatched) == ({"2": (1.0, 2.5)}, {"3": (3.0, 4.0)})
    assert "unmatched" not in cat(0, ("9",), [(0, 0)]).to_json()
