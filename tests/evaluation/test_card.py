"""The card of a run: each of its fields against what the run's folder holds."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.handmade import pair_record, run_of
from semcorr.datasets.base import Dataset
from semcorr.errors import RunError
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.card import ALPHAS, Card, make_card
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.runs import folder as run_folder
from semcorr.evaluation.runs.runner import run
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.environment import versions
from semcorr.storage.record_store import Shard

METHOD = {
    "preset": "fast",
    "model_id": "toy",
    "model_revision": "abc",
    "model_fingerprint": "0123",
    "dtype": "float32",
    "settings": {"layers": ["up/2", "up/1"], "seed": 3},
    "calibration": "82e0",
}


def made(folder: Path, name: str = "toy", **environments: Any) -> Path:
    """A run of two pairs, of a cat and of a dog, of three that there are to be; one point in three is 15 of 100 off."""
    box = {"target_box": (0.0, 0.0, 100.0, 100.0), "source_box": (0.0, 0.0, 100.0, 100.0)}
    records = [
        pair_record(0, [(10, 10), (50, 50)], [(0, 0), (15, 0)], names=("9", "10"), describe_seconds=2.0, **box),
        pair_record(1, [(20, 20)], [(0, 5)], names=("1",), category="dog", locate_seconds=0.5, **box),
    ]
    settings = run_of("x", records, dataset={"name": name, "content": "77", "pairs": 3}, method=METHOD).settings
    run_folder.open_run(folder, settings, 3)
    for number, record in enumerate(records, start=1):
        file = run_folder.new_record_file(folder, Shard(number=number, count=2), environments or {"threads": 1})
        run_folder.append(file, record)
    return folder


def test_every_field_is_what_the_folder_holds(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine")
    card = make_card(run_folder.read_run(folder))
    header = json.loads((folder / "run.json").read_text())
    own = header["settings"]["dataset"]
    assert card.name == "mine"
    assert card.method == header["settings"]["method"] == {"name": "prompt", **METHOD}
    assert card.dataset == {key: value for key, value in own.items() if key != "root"}
    assert card.settings_sha256 == header["hash"]
    lines = b"".join(path.read_bytes() for path in sorted((folder / "records").iterdir()))
    assert card.records_sha256 == hashlib.sha256(lines).hexdigest()
    assert card.protocol == {"threshold": "target-box", "frame": "original", "side": 512}
    assert card.check == {
        "pairs": 2,
        "pairs_of_the_run": header["pairs"],
        "pairs_published": 312,
        "pairs_by_category": {"cat": 1, "dog": 1},
        "whole": False,
    }
    assert card.cost == {"describe_seconds": 2.0, "locate_seconds": 0.5}
    assert card.environments == [{"threads": 1}]


def test_its_figures_are_those_of_the_report(tmp_path: Path) -> None:
    """Per image at 0.1: 1/2 and 1; at 0.15 all; at 0.01 1/2 and 0."""
    read = run_folder.read_run(made(tmp_path / "mine"))
    card = make_card(read)
    options = ReportOptions(by=("overall", "pck-dagger"), alphas=ALPHAS, quote=False, times=True)
    assert card.report == json.loads(build_report([read], options).json())
    values = {key: value for table in card.report["tables"] for key, value in table["rows"][0]["values"].items()}
    assert [values[f"pck@{alpha} per image"] for alpha in (0.01, 0.05, 0.1, 0.15)] == [25, 75, 75, 100]
    assert values["pck@0.1 per image 95%"] == [50, 100]
    assert values["s to locate a pair"] == 0.25
    other = make_card(read, threshold="image", frame="squash")
    assert other.protocol == {"threshold": "image", "frame": "squash", "side": 512}
    assert other.report["tables"][0]["protocol"] == "image side, squashed to 512 × 512"
    by = {table["by"] for table in make_card(run_folder.read_run(made(tmp_path / "other", "spair"))).report["tables"]}
    assert by == {"overall", "geo", "pck-dagger"}


def test_json_and_back(tmp_path: Path) -> None:
    card = make_card(run_folder.read_run(made(tmp_path / "mine")))
    assert Card.from_json(card.json()) == card
    assert Card.from_json(card.json()).json() == make_card(run_folder.read_run(tmp_path / "mine")).json()
    for old, new, message in (
        ('"format": 1', '"format": 2', "format 2, expected 1"),
        ('"cost"', '"costs"', "Expected the card of a run"),
        ('"locate_seconds": 0.5', '"locate_seconds": "long"', r"\(cost.locate_seconds: "),
    ):
        assert old in card.json()
        with pytest.raises(RunError, match=message):
            Card.from_json(card.json().replace(old, new))


def test_markdown_has_the_same_facts(tmp_path: Path) -> None:
    card = make_card(run_folder.read_run(made(tmp_path / "mine", device="A | B", versions={"torch": "2.0"})))
    text = Card.from_json(card.json()).markdown()
    assert text.startswith("# mine\n\n| | |\n| --- | --- |\n| method.name | prompt |\n")
    for line in (
        "| method.model_fingerprint | 0123 |",
        "| method.settings.layers | up/2, up/1 |",
        "| method.settings.seed | 3 |",
        "| check.pairs_published | 312 |",
        f"| records_sha256 | {card.records_sha256} |",
        "| device | A \\| B |",
        "| versions.torch | 2.0 |",
        "- Warning: mine is not finished: 2 of 3 pairs.",
    ):
        assert line in text.splitlines(), line
    assert "| mine | 75.0 | 50.0 to 100.0 | 66.7 | 50.0 to 100.0 | 100.0 |" in text


def test_whole_is_said_of_what_is_known(tmp_path: Path) -> None:
    published = [pair_record(n, [(1, 1)], [(0, 0)], category="cat" if n < 2 else "dog") for n in range(3)]
    for name, whole in (("pf-willow", False), ("ap10k", None), ("birds", None)):
        settings = {"name": name, "threshold": "image"}
        assert make_card(run_of("mine", published, dataset=settings)).check["whole"] is whole


def test_a_run_records_where_it_was_made(birds: Dataset, tmp_path: Path) -> None:
    """Each process that works on it once; a merged run has those of all."""
    parts = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        done = run(birds, MatcherSpec(method="same-position"), folder, shard=Shard(number=number, count=2))
        (environment,) = done.environments
        assert environment["versions"] == versions()
        assert (environment["threads"], environment["device"]) == (torch.get_num_threads(), "cpu")
        assert environment["processor"]
        parts.append(folder)
    (parts[0] / "environments" / "1-of-2.0.json").write_text(json.dumps({"device": "another"}))
    (parts[1] / "environments" / "broken.json").write_text("{")
    merged = run_folder.merge(parts, tmp_path / "merged")
    assert [one["device"] for one in merged.environments] == ["another", "cpu"]
    assert make_card(merged).environments == list(merged.environments)
