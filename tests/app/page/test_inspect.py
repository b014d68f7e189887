"""The tab *Inspect*, without a browser."""

from pathlib import Path

from app.page.visitor import ALL, SHORT, Visitor
from semcorr.evaluation.runs.folder import append, open_run, read_run
from semcorr.matchers.load import load_matcher
from semcorr.storage.record_store import Shard, new_record_file


def test_a_run_is_shown_pair_by_pair(visitor: Visitor) -> None:
    visitor.do("maps", "click")
    assert "Choose a pair first" in visitor.seen["inspect-status"]
    visitor.do("runs-reload", "click")
    assert visitor.seen["run"]["choices"] == ["deep/mine"]
    visitor.do("run", "input", "../elsewhere")
    assert "sc-bad" in visitor.seen["inspect-status"]
    visitor.do("run", "input", "deep/mine")
    assert "3 of 3 pairs. The run has 1 to go." in visitor.seen["inspect-status"]
    table = _cells(visitor.seen["inspect-table"])
    assert set(table[4::5]) == {"right"}
    visitor.do("next", "click", "0")
    assert visitor.seen["pair"] == "1"
    assert _cells(visitor.seen["inspect-table"])[4::5].count("wrong") == 1
    visitor.do("previous", "click", "0")
    assert "no memory" in visitor.seen["inspect-table"]
    assert visitor.seen["maps"]["interactive"] is False
    visitor.do("category", "input", "animal", "all")
    assert [value for _, value in visitor.seen["pair"]["choices"]] == ["0"]
    visitor.do("outcome", "input", "animal", "failed")
    assert visitor.seen["pair"]["choices"] == []
    assert visitor.seen["inspect-target"]["panels"] == []


def test_the_maps_of_a_pair_are_computed_again(visitor: Visitor, page_runs: Path) -> None:
    method = {"name": "attention-dift", "preset": "fast", **load_matcher("attention-dift", "toy", **SHORT).identity()}
    before = read_run(page_runs / "deep" / "mine")
    open_run(visitor.state.runs / "again", {**before.settings, "method": method}, 1)
    append(new_record_file(visitor.state.runs / "again", Shard()), before.records[0])
    visitor.do("map-point", "input", *ALL)
    assert "inspect-target" not in visitor.seen
    visitor.do("run", "input", "again")
    assert visitor.seen["inspect-target"]["panels"][0]["heat"] is None
    updates = visitor.steps("maps", "click")
    next(updates)
    visitor.do("pair", "input", "0")  # as if another were selected
    assert "Another pair was chosen meanwhile" in list(updates)[-1]["inspect-status"]
    visitor.do("maps", "click")
    assert "Done again with the run" in visitor.seen["inspect-status"]
    together = visitor.seen["inspect-target"]["panels"][0]["heat"]
    layers = visitor.seen["map-layer"]["choices"]
    visitor.do("map-layer", "input", visitor.seen["map-point"]["choices"][1], layers[-1])
    assert None not in {together, visitor.seen["inspect-target"]["panels"][0]["heat"]}
    assert visitor.seen["inspect-target"]["panels"][0]["heat"] != together


def _cells(table: str) -> list[str]:
    return [cell.partition("</td>")[0].rpartition(">")[2] for cell in table.split("<td")[1:]]
