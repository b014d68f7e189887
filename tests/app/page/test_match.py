"""The page's own functions, without a browser: built as it is served, called as Gradio calls them."""

import gc
import os
import shutil
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import isgenerator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from semcorr.app.matchers import LoadedMatchers
from semcorr.app.server.limits import Limits
from semcorr.app.server.serve import keep_to_this_machine
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.sessions import Sessions
from semcorr.app.state import AppState
from semcorr.evaluation.runs.folder import append, open_run, read_run
from semcorr.matchers.load import load_matcher
from semcorr.matchers.spec import MatcherSpec
from semcorr.storage.record_store import Shard, new_record_file

EVERYTHING = ("all points", "all layers together")
SHORT = {"steps": 3, "locate_crops": 4, "dift_samples": 1}


@dataclass(frozen=True)
class Visitor:
    """One of those who have the page open, and what they see: the last update of each part, by its ``elem_id``."""

    page: Any
    state: AppState
    name: str
    seen: dict[str, Any]

    def steps(self, part: str, trigger: str, *values: Any, **event: Any) -> Iterator[dict[str, Any]]:
        """Trigger what is wired to a part; yield its updates."""
        import gradio as gr
        from gradio.context import LocalContext
        from gradio.helpers import special_args

        LocalContext.in_event_listener.set(True)  # components stand for changes from here on
        (component,) = (one for one in self.page.blocks.values() if getattr(one, "elem_id", None) == part)
        (wired,) = (one for one in self.page.fns.values() if (component._id, trigger) in one.targets)
        asked = gr.Request(session_hash=self.name)
        arguments, *_ = special_args(wired.fn, list(values), asked, gr.EventData(component, event))
        result = wired.fn(*arguments)
        for update in result if isgenerator(result) else [result or {}]:
            named = {block.elem_id: _plain(value) for block, value in update.items()}
            self.seen.update(named)
            yield named

    def do(self, part: str, trigger: str, *values: Any, **event: Any) -> list[dict[str, Any]]:
        """The same, to its end."""
        return list(self.steps(part, trigger, *values, **event))

    def answer(self, which: str) -> None:
        """Answer what the page asks."""
        asked = self.seen["keeper"]["question"]
        assert asked["yes"]
        values = EVERYTHING if which == "confirm" else ()
        self.do("keeper", which, *values, token=asked["token"])

    def close(self) -> None:
        """Leave the page."""
        import gradio as gr

        (closed,) = (one for one in self.page.fns.values() if any(trigger == "unload" for _, trigger in one.targets))
        closed.fn(gr.Request(session_hash=self.name))

    @property
    def key(self) -> str:
        """What the browser keeps."""
        return self.state.sessions.of(self.name).key

    @property
    def work(self) -> Any:
        return self.state.sessions.of(self.name).work


def _plain(value: Any) -> Any:
    """Components that stand for a change, as what they change."""
    import gradio as gr

    return value.constructor_args if isinstance(value, gr.blocks.Block) else value


@pytest.fixture(scope="module")
def state(page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppState]:
    pytest.importorskip("gradio", reason='Gradio is not installed: pip install "semcorr[app]"')
    # Tests add runs to a folder of their own.
    runs = tmp_path_factory.mktemp("page-runs")
    shutil.copytree(page_runs, runs, dirs_exist_ok=True)
    folder, files, limits = tmp_path_factory.mktemp("page"), ServedFiles(), Limits(targets=3, points=4, letters=40)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(name, os.environ.get(name, ""))  # put back at the end
        keep_to_this_machine(folder)
        made = AppState(
            matchers=LoadedMatchers(MatcherSpec(model="toy", options=SHORT)),
            limits=limits,
            folder=folder,
            runs=runs,
            files=files,
            sessions=Sessions(files, limits),
        )
        yield made
        made.queue.close()


@pytest.fixture(scope="module")
def page(state: AppState) -> Any:
    with warnings.catch_warnings():
        # Gradio leaves event loops behind as it is imported: they are collected here, not in a later test.
        warnings.simplefilter("ignore", ResourceWarning)
        from semcorr.app.page.page import build

        made = build(state)
        gc.collect()
    return made


@pytest.fixture
def visitor(page: Any, state: AppState, request: pytest.FixtureRequest) -> Visitor:
    return Visitor(page, state, request.node.name, {})


def test_nothing_can_be_called_by_name(page: Any) -> None:
    assert {one.api_visibility for one in page.fns.values()} == {"private"}


def test_whatever_can_be_used_says_what_it_is(page: Any) -> None:
    import gradio as gr

    used = [one for one in page.blocks.values() if isinstance(one, (gr.Button, gr.Dropdown, gr.Textbox, gr.Slider))]
    assert len(used) > 30
    for one in used:
        assert getattr(one, "label", None) or getattr(one, "value", None) or getattr(one, "placeholder", None)
    ids = [one.elem_id for one in page.blocks.values() if getattr(one, "elem_id", None)]
    assert len(set(ids)) == len(ids)


def test_points_are_placed_moved_named_and_taken_back(visitor: Visitor) -> None:
    visitor.do("example-animal", "click")
    assert len(visitor.work.points) == 4
    visitor.do("source", "mark", *EVERYTHING, x=3.5, y=4.5)
    assert "4 points" in visitor.seen["status"]  # as many as there may be
    visitor.do("delete", "click", *EVERYTHING)
    assert "Choose the point" in visitor.seen["status"]
    before = visitor.work.points
    visitor.do("source", "pick", EVERYTHING[1], index=1)
    visitor.do("delete", "click", visitor.seen["point"], EVERYTHING[1])
    assert visitor.work.points == (before[0], *before[2:])
    visitor.do("source", "mark", *EVERYTHING, x=3.5, y=4.5)
    visitor.do("source", "drag", *EVERYTHING, index=3, x=10.5, y=12.25)
    assert visitor.work.points[3] == (10.5, 12.25)
    visitor.do("undo", "click", *EVERYTHING)
    assert visitor.work.points[3] == (3.5, 4.5)
    assert "Undone: point moved" in visitor.seen["status"]
    visitor.do("redo", "click", *EVERYTHING)
    assert visitor.work.points[3] == (10.5, 12.25)
    visitor.do("names", "submit", "ear, tail, paw, snout", *EVERYTHING)
    assert [one["title"] for one in visitor.seen["source"]["panels"][0]["points"]] == ["ear", "tail", "paw", "snout"]
    visitor.do("names", "submit", "ear, ear, ear, ear", *EVERYTHING)
    assert "sc-bad" in visitor.seen["status"]
    visitor.do("clear", "click")
    assert len(visitor.work.points) == 4  # nothing goes before the answer
    visitor.answer("confirm")
    visitor.do("remove", "click", *EVERYTHING)
    assert visitor.work.points == visitor.work.targets == ()
    visitor.do("find", "click", "attention-dift", "fast", *EVERYTHING)
    assert "sc-bad" in visitor.seen["status"]


def test_what_is_sent_is_read_or_refused_by_name(visitor: Visitor, state: AppState) -> None:
    for number in range(4):
        PIL.Image.new("RGB", (40, 30), (number, 90, 90)).save(state.folder / f"{number}.png")
    (state.folder / "broken.png").write_bytes(b"no picture")
    paths = [str(state.folder / f"{number}.png") for number in range(4)]
    visitor.do("source-upload", "upload", paths[0])
    assert visitor.work.source.size == (40, 30)
    visitor.do("targets-upload", "upload", paths, *EVERYTHING)
    assert "at most 3 images" in visitor.seen["status"]
    PIL.Image.new("RGB", (40, 30)).save(paths[1])
    visitor.do("targets-upload", "upload", [paths[1], str(state.folder / "broken.png")], *EVERYTHING)
    assert len(visitor.work.targets) == 1
    assert "broken.png" in visitor.seen["status"]
    (state.folder / "broken.png").write_bytes(b"no picture")
    visitor.do("source-upload", "upload", str(state.folder / "broken.png"))
    assert "broken.png" in visitor.seen["status"]
    assert visitor.work.source.size == (40, 30)


def test_found_looked_at_put_right_and_taken_home(visitor: Visitor) -> None:
    visitor.do("example-face", "click")
    visitor.do("targets", "mark", *EVERYTHING, panel=0, x=5.0, y=5.0)
    assert "Choose the match" in visitor.seen["status"]
    (first, *_, last) = visitor.do("find", "click", "attention-dift", "fast", *EVERYTHING)
    assert first["find"]["interactive"] is False
    assert last["find"]["interactive"] is True
    assert "Done with attention-dift, fast" in last["status"]
    points, layers = last["point"]["choices"], last["layer"]["choices"]
    assert len(points) == 1 + len(visitor.work.points)
    maps = lambda: [one["heat"] for one in visitor.seen["targets"]["panels"]]  # noqa: E731
    all_points = maps()
    visitor.do("point", "input", points[1], layers[0])
    one_point = maps()
    visitor.do("layer", "input", points[1], layers[-1])
    assert len({*all_points, *one_point, *maps()}) == 3 * len(visitor.work.targets)
    visitor.do("targets", "pick", layers[0], panel=0, index=1)
    assert visitor.seen["point"] == points[2]
    visitor.do("targets", "mark", points[2], layers[0], panel=0, x=7.25, y=8.5)
    visitor.do("targets", "drag", points[2], layers[0], panel=1, index=0, x=9.0, y=9.5)
    visitor.do("targets", "drag", points[2], layers[0], panel=1, index=0, x=-9.0, y=9.5)
    assert "sc-bad" in visitor.seen["status"]
    places = [[(one["x"], one["y"]) for one in panel["points"]] for panel in visitor.seen["targets"]["panels"]]
    assert places[0][1] == (7.25, 8.5)
    assert places[1][0] == (9.0, 9.5)
    assert visitor.seen["keeper"]["unsaved"]
    visitor.do("export", "click")
    assert all(name in visitor.seen["files"] for name in ("matches.csv", "coco.json"))
    assert not visitor.seen["keeper"]["unsaved"]
    visitor.do("accept", "click", *EVERYTHING)
    assert len(visitor.work.decisions) == len(visitor.work.matches)
    visitor.do("discard", "click", *EVERYTHING)
    assert len(visitor.work.decisions) == len(visitor.work.matches)
    visitor.answer("confirm")
    assert not any(one["moved"] for panel in visitor.seen["targets"]["panels"] for one in panel["points"])
    visitor.do("method", "input", "dift")
    assert visitor.seen["preset"]["value"] == "published"


def test_a_point_that_was_deleted_meanwhile_gets_no_result_and_the_others_do(visitor: Visitor) -> None:
    visitor.do("example-bird", "click")
    updates = visitor.steps("find", "click", "attention-dift", "fast", *EVERYTHING)
    next(updates)
    visitor.do("delete", "click", "1 beak", EVERYTHING[1])
    assert "3 matches were for points or targets that changed meanwhile" in list(updates)[-1]["status"]
    assert len(visitor.work.matches) == 3 * len(visitor.work.points)


def places(visitor: Visitor) -> list[list[tuple[float, float]]]:
    return [[(one["x"], one["y"]) for one in panel["points"]] for panel in visitor.seen["targets"]["panels"]]


def test_a_stray_click_and_find_again_lose_nothing(visitor: Visitor) -> None:
    visitor.do("example-face", "click")
    visitor.do("delete", "click", "4 mouth", EVERYTHING[1])
    visitor.do("find", "click", "dift", "published", *EVERYTHING)
    visitor.do("targets", "drag", *EVERYTHING, panel=1, index=0, x=9.0, y=9.5)
    corrected = places(visitor)
    visitor.do("source", "mark", *EVERYTHING, x=30.5, y=40.5)
    assert [panel[:3] for panel in places(visitor)] == corrected
    assert [panel[3] for panel in places(visitor)] == [(None, None)] * 3
    assert "1 point is not found in every target yet" in visitor.seen["status"]
    assert visitor.seen["source"]["panels"][0]["points"][3]["title"] == "4: not found yet"
    visitor.do("undo", "click", *EVERYTHING)
    assert places(visitor) == corrected
    visitor.do("redo", "click", *EVERYTHING)
    visitor.do("find", "click", "dift", "published", *EVERYTHING)
    assert [panel[:3] for panel in places(visitor)] == corrected
    assert (None, None) not in [panel[3] for panel in places(visitor)]
    visitor.do("find", "click", "dift", "published", *EVERYTHING)
    assert "Nothing is left to find" in visitor.seen["status"]
    visitor.do("source", "drag", *EVERYTHING, index=0, x=70.5, y=70.5)
    visitor.do("source", "drag", *EVERYTHING, index=1, x=70.5, y=80.5)
    assert "2 points were moved after they were found: press Find" in visitor.seen["status"]
    visitor.do("undo", "click", *EVERYTHING)
    assert "1 point was moved after it was found: press Find" in visitor.seen["status"]
    visitor.do("undo", "click", *EVERYTHING)
    assert "moved after" not in visitor.seen["status"]
    # Another method finds all anew, but not what was corrected.
    visitor.do("find", "click", "attention-dift", "fast", *EVERYTHING)
    assert places(visitor)[1][0] == (9.0, 9.5)
    assert len({match.label for match in visitor.work.matches.values()}) == 2
    # Every step back, and the results are as they were.
    visitor.do("undo", "click", *EVERYTHING)
    visitor.do("undo", "click", *EVERYTHING)
    visitor.do("undo", "click", *EVERYTHING)
    assert places(visitor) == corrected
    visitor.do("undo", "click", *EVERYTHING)
    assert places(visitor)[1][0] != (9.0, 9.5)


def test_what_is_about_to_be_lost_is_asked_for_and_comes_back(visitor: Visitor, state: AppState) -> None:
    visitor.do("example-face", "click")
    visitor.do("example-bird", "click")  # an example that nobody changed is no loss
    visitor.do("find", "click", "dift", "published", *EVERYTHING)
    visitor.do("targets", "drag", *EVERYTHING, panel=1, index=0, x=9.0, y=9.5)
    before = visitor.work
    PIL.Image.new("RGB", (40, 30), "red").save(state.folder / "red.png")
    steps: list[tuple[str, str, list[Any]]] = [
        ("example-car", "click", []),
        ("source-upload", "upload", [str(state.folder / "red.png")]),
        ("clear", "click", []),
        ("remove", "click", [*EVERYTHING]),
        ("delete", "click", ["1 beak", EVERYTHING[1]]),
        ("discard", "click", [*EVERYTHING]),
    ]
    for part, trigger, values in steps:
        PIL.Image.new("RGB", (40, 30), "red").save(state.folder / "red.png")
        visitor.do(part, trigger, *values)
        assert visitor.work is before
        visitor.answer("refuse")
        assert "Nothing was changed" in visitor.seen["status"]
        assert visitor.work is before
        PIL.Image.new("RGB", (40, 30), "red").save(state.folder / "red.png")
        visitor.do(part, trigger, *values)
        visitor.answer("confirm")
        assert visitor.work is not before
        visitor.do("undo", "click", *EVERYTHING)
        assert visitor.work is before
    # An answer to another question than the last is none.
    visitor.do("clear", "click")
    old = visitor.seen["keeper"]["question"]["token"]
    visitor.do("remove", "click", *EVERYTHING)
    visitor.do("keeper", "confirm", *EVERYTHING, token=old)
    visitor.do("keeper", "confirm", *EVERYTHING, token=None)
    assert visitor.work is before


def test_a_reload_brings_everything_back_and_says_when_it_cannot(visitor: Visitor, page: Any, state: AppState) -> None:
    visitor.do("keeper", "open", key=None, held=False)
    assert visitor.seen["keeper"]["key"] == visitor.key
    visitor.do("example-bird", "click")
    visitor.do("find", "click", "dift", "published", *EVERYTHING)
    visitor.do("targets", "drag", *EVERYTHING, panel=1, index=0, x=9.0, y=9.5)
    visitor.do("point", "input", *EVERYTHING)  # what is chosen is the page's own, and not kept
    assert visitor.seen["keeper"]["holds"]
    key = visitor.key
    visitor.close()
    reloaded = Visitor(page, state, f"{visitor.name} again", {})
    reloaded.do("keeper", "open", key=key, held=True)
    for part in ("source", "targets", "table", "legend", "names"):
        assert reloaded.seen[part] == visitor.seen[part]
    assert (reloaded.seen["method"], reloaded.seen["preset"]["value"]) == ("dift", "published")
    assert "12 matches and 1 correction" in reloaded.seen["status"]
    reloaded.do("undo", "click", *EVERYTHING)
    assert not reloaded.work.decisions
    elsewhere = Visitor(page, state, f"{visitor.name} elsewhere", {})
    elsewhere.do("keeper", "open", key="a key of a server before", held=True)
    assert "no longer on this server" in elsewhere.seen["status"]
    assert elsewhere.seen["source"]["panels"] == []
    assert elsewhere.seen["keeper"]["key"] not in ("a key of a server before", key)
    for nonsense in (7, ["x"], {"a": 1}, ""):
        elsewhere.do("keeper", "open", key=nonsense, held=False)
        assert elsewhere.work.source is None


def test_a_page_that_is_loaded_again_goes_on_with_the_run(visitor: Visitor, page: Any, state: AppState) -> None:
    visitor.do("keeper", "open", key=None, held=False)
    visitor.do("example-bird", "click")
    go = threading.Event()
    state.queue.submit(lambda job: go.wait(60))
    updates = visitor.steps("find", "click", "dift", "published", *EVERYTHING)
    next(updates)
    key = visitor.key
    visitor.close()
    reloaded = Visitor(page, state, f"{visitor.name} again", {})
    opening = reloaded.steps("keeper", "open", key=key, held=True)
    next(opening)
    assert next(opening)["find"]["interactive"] is False
    go.set()
    last = list(opening)[-1]
    assert "Done with dift, published" in last["status"]
    assert len(reloaded.work.matches) == 12


def test_a_step_on_a_page_that_is_behind_is_not_taken(visitor: Visitor, page: Any, state: AppState) -> None:
    visitor.do("keeper", "open", key=None, held=False)
    visitor.do("example-bird", "click")
    other = Visitor(page, state, f"{visitor.name} beside", {})
    other.do("keeper", "open", key=visitor.key, held=True)
    other.do("delete", "click", "1 beak", EVERYTHING[1])
    after = visitor.work
    assert len(after.points) == 3
    visitor.do("source", "drag", *EVERYTHING, index=0, x=3.5, y=4.5)
    assert visitor.work is after
    assert "changed on another page" in visitor.seen["status"]
    assert len(visitor.seen["source"]["panels"][0]["points"]) == 3
    visitor.do("source", "drag", *EVERYTHING, index=0, x=3.5, y=4.5)
    assert visitor.work.points[0] == (3.5, 4.5)


@pytest.mark.parametrize(
    ("find", "cancel", "status", "values"),
    [
        ("find", "cancel", "status", ["attention-dift", "fast", *EVERYTHING]),
        ("words-show", "words-cancel", "words-status", ["a b"]),
        ("maps", "maps-cancel", "inspect-status", []),
    ],
)
def test_cancelled(visitor: Visitor, find: str, cancel: str, status: str, values: list[str]) -> None:
    visitor.do("example-bird", "click")
    visitor.do("words-source", "click")
    somebody_elses = threading.Event()
    visitor.state.queue.submit(lambda job: somebody_elses.wait(60))
    updates = visitor.steps(find, "click", *values)
    next(updates)
    visitor.do(cancel, "click")
    last = list(updates)[-1]
    somebody_elses.set()
    assert "Cancelled" in last[status]
    assert (last[find]["interactive"], last[cancel]["interactive"]) == (True, False)


def test_words_of_a_prompt(visitor: Visitor) -> None:
    visitor.do("words-source", "click")
    assert "no source" in visitor.seen["words-status"]
    visitor.do("words-show", "click", "a face")
    assert "First send an image" in visitor.seen["words-status"]
    visitor.do("example-face", "click")
    visitor.do("words-source", "click")
    assert len(visitor.seen["words-image"]["panels"]) == 1
    visitor.do("words-example-face", "click")
    visitor.do("words-show", "click", "x" * 41)
    assert "41" in visitor.seen["words-status"]
    visitor.do("words-show", "click", "a face with red nose")
    assert [one["title"] for one in visitor.seen["words"]["panels"]] == ["a", "face", "with", "red", "nose"]
    assert "words.png" in visitor.seen["words-files"]


def test_a_run_pair_by_pair(visitor: Visitor) -> None:
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


def test_a_pairs_maps_are_made_again(visitor: Visitor, page_runs: Path) -> None:
    method = {"name": "attention-dift", "preset": "fast", **load_matcher("attention-dift", "toy", **SHORT).identity()}
    before = read_run(page_runs / "deep" / "mine")
    open_run(visitor.state.runs / "again", {**before.settings, "method": method}, 1)
    append(new_record_file(visitor.state.runs / "again", Shard()), before.records[0])
    visitor.do("map-point", "input", *EVERYTHING)
    assert "inspect-target" not in visitor.seen
    visitor.do("run", "input", "again")
    assert visitor.seen["inspect-target"]["panels"][0]["heat"] is None
    updates = visitor.steps("maps", "click")
    next(updates)
    visitor.do("pair", "input", "0")  # as if another had been chosen
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


def test_a_page_that_is_closed_leaves_nothing_that_nobody_can_come_back_to(visitor: Visitor) -> None:
    visitor.do("example-bird", "click")
    visitor.close()
    assert visitor.work.source is None
