"""The benchmark of several examples measures what ``semcorr transfer`` predicts."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.corrections import drawings
from benchmarks.engine import examples
from benchmarks.photograph_sets import transfers
from semcorr.matchers.load import load_matcher
from semcorr.transfer.plan import Plan, TransferSettings
from semcorr.transfer.supports import Support
from semcorr.transfer.targets import Region, Target
from semcorr.transfer.transferrer import Transferrer


@pytest.mark.slow
def test_its_figures_are_those_of_a_transfer(tmp_path: Path) -> None:
    options = {"steps": 2, "calibration": "none", "device": "cpu"}
    matcher = load_matcher("prompt", "toy", "fast", **options)
    known = drawings(tmp_path / "faces", "face", count=4, split="val")
    outcome = examples._draw(known, 0, matcher, (2,), 1, 2)
    assert {way.name for way in outcome} == {"vote", "optimize"}
    (draw,) = transfers.draws_of(4, 2, 1)
    order = np.random.default_rng([0, 4]).permutation(list(draw.supports)).tolist()
    chosen = [known.objects[number] for number in order]
    plan = Plan(
        supports={
            "face": [
                Support(image=one.image, instance=one.instance, keypoints=np.flatnonzero(one.marked)) for one in chosen
            ]
        },
        unreadable={},
        notes=(),
    )
    for way, (pck, _, _) in outcome.items():
        settings = TransferSettings(support=2, fuse=way.name)  # type: ignore[arg-type]  # one of the two
        transferrer = Transferrer(matcher, known.annotations, settings, plan=plan)
        right = []
        for number in draw.targets[:2]:
            one = known.objects[number]
            region = Region(category="face", box=None, id=number)
            (predicted,) = transferrer.predict(
                Target(file=one.image.file, path=one.image.path, regions=(region,))
            ).objects
            errors = np.hypot(*(predicted.points - one.instance.points).T)[one.marked] / one.threshold
            right += (errors <= 0.1).tolist()
        assert pck[1] == pytest.approx(100 * np.mean(right))


def test_a_row_says_what_optimizing_gains() -> None:
    """Three draws, written out; Student's quantile of two degrees of freedom is 4.303."""
    vote, optimize = (examples._Way(name=name, supports=5, queries=(0,)) for name in ("vote", "optimize"))
    measured = [
        {vote: (np.array([10.0, low]), 1.0, 0.5), optimize: (np.array([10.0, high]), 3.0, 0.25)}
        for low, high in ((50.0, 51.0), (60.0, 63.0), (40.0, 45.0))
    ]
    first, second = examples._rows("prompt:fast", measured)
    assert (first["gain"], second["pck"][1], second["gain"][1]) == (None, 53.0, 3.0)
    low, high = second["gain intervals"][1]
    assert (low, high) == (
        pytest.approx(3 - 4.303 * 2 / 3**0.5, abs=1e-3),
        pytest.approx(3 + 4.303 * 2 / 3**0.5, abs=1e-3),
    )
    assert (second["describe"], second["locate"]) == (3.0, 0.25)
    shown = examples.table({"split": "val", "draws": 3, "targets": 1, "categories": 1, "rows": [first, second]})
    assert list(shown.columns[7].cells) == ["", "+3.0"]
