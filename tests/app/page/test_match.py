"""The tab *Match*: points, uploads, runs, corrections and their undo, without a browser."""

import PIL.Image

from app.page.visitor import ALL, Visitor, locations
from semcorr.app.state import AppState


def test_points_are_added_moved_named_and_undone(visitor: Visitor) -> None:
    visitor.do("example-animal", "click")
    assert len(visitor.work.points) == 4
    visitor.do("source", "mark", *ALL, x=3.5, y=4.5)
    assert "4 points" in visitor.seen["status"]  # the limit
    visitor.do("delete", "click", *ALL)
    assert "Choose the point" in visitor.seen["status"]
    before = visitor.work.points
    visitor.do("source", "pick", ALL[1], index=1)
    visitor.do("delete", "click", visitor.seen["point"], ALL[1])
    assert visitor.work.points == (before[0], *before[2:])
    visitor.do("source", "mark", *ALL, x=3.5, y=4.5)
    visitor.do("source", "drag", *ALL, index=3, x=10.5, y=12.25)
    assert visitor.work.points[3] == (10.5, 12.25)
    visitor.do("undo", "click", *ALL)
    assert visitor.work.points[3] == (3.5, 4.5)
    assert "Undone: point moved" in visitor.seen["status"]
    visitor.do("redo", "click", *ALL)
    assert visitor.work.points[3] == (10.5, 12.25)
    visitor.do("names", "submit", "ear, tail, paw, snout", *ALL)
    assert [one["title"] for one in visitor.seen["source"]["panels"][0]["points"]] == ["ear", "tail", "paw", "snout"]
    visitor.do("names", "submit", "ear, ear, ear, ear", *ALL)
    assert "sc-bad" in visitor.seen["status"]
    visitor.do("clear", "click")
    assert len(visitor.work.points) == 4  # nothing is lost before the answer
    visitor.answer("confirm")
    visitor.do("remove", "click", *ALL)
    assert visitor.work.points == visitor.work.targets == ()
    visitor.do("find", "click", "attention-dift", "fast", *ALL)
    assert "sc-bad" in visitor.seen["status"]


def test_uploads_are_read_or_refused_by_name(visitor: Visitor, state: AppState) -> None:
    for number in range(4):
        PIL.Image.new("RGB", (40, 30), (number, 90, 90)).save(state.folder / f"{number}.png")
    (state.folder / "broken.png").write_bytes(b"not an image")
    paths = [str(state.folder / f"{number}.png") for number in range(4)]
    visitor.do("source-upload", "upload", paths[0])
    assert visitor.work.source.size == (40, 30)
    visitor.do("targets-upload", "upload", paths, *ALL)
    assert "at most 3 images" in visitor.seen["status"]
    PIL.Image.new("RGB", (40, 30)).save(paths[1])
    visitor.do("targets-upload", "upload", [paths[1], str(state.folder / "broken.png")], *ALL)
    assert len(visitor.work.targets) == 1
    assert "broken.png" in visitor.seen["status"]
    (state.folder / "broken.png").write_bytes(b"not an image")
    visitor.do("source-upload", "upload", str(state.folder / "broken.png"))
    assert "broken.png" in visitor.seen["status"]
    assert visitor.work.source.size == (40, 30)


def test_points_are_matched_inspected_corrected_and_exported(visitor: Visitor) -> None:
    visitor.do("example-face", "click")
    visitor.do("targets", "mark", *ALL, panel=0, x=5.0, y=5.0)
    assert "Choose the match" in visitor.seen["status"]
    (first, *_, last) = visitor.do("find", "click", "attention-dift", "fast", *ALL)
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
    locations = [[(one["x"], one["y"]) for one in panel["points"]] for panel in visitor.seen["targets"]["panels"]]
    assert locations[0][1] == (7.25, 8.5)
    assert locations[1][0] == (9.0, 9.5)
    assert visitor.seen["keeper"]["unsaved"]
    visitor.do("export", "click")
    assert all(name in visitor.seen["files"] for name in ("matches.csv", "coco.json"))
    assert not visitor.seen["keeper"]["unsaved"]
    visitor.do("accept", "click", *ALL)
    assert len(visitor.work.decisions) == len(visitor.work.matches)
    visitor.do("discard", "click", *ALL)
    assert len(visitor.work.decisions) == len(visitor.work.matches)
    visitor.answer("confirm")
    assert not any(one["moved"] for panel in visitor.seen["targets"]["panels"] for one in panel["points"])
    visitor.do("method", "input", "dift")
    assert visitor.seen["preset"]["value"] == "published"


def test_a_point_deleted_during_a_run_gets_no_result_and_the_others_do(visitor: Visitor) -> None:
    visitor.do("example-bird", "click")
    updates = visitor.steps("find", "click", "attention-dift", "fast", *ALL)
    next(updates)
    visitor.do("delete", "click", "1 beak", ALL[1])
    assert "3 matches were for points or targets that changed meanwhile" in list(updates)[-1]["status"]
    assert len(visitor.work.matches) == 3 * len(visitor.work.points)


def test_a_stray_click_and_find_again_lose_nothing(visitor: Visitor) -> None:
    visitor.do("example-face", "click")
    visitor.do("delete", "click", "4 mouth", ALL[1])
    visitor.do("find", "click", "dift", "published", *ALL)
    visitor.do("targets", "drag", *ALL, panel=1, index=0, x=9.0, y=9.5)
    corrected = locations(visitor)
    visitor.do("source", "mark", *ALL, x=30.5, y=40.5)
    assert [panel[:3] for panel in locations(visitor)] == corrected
    assert [panel[3] for panel in locations(visitor)] == [(None, None)] * 3
    assert "1 point is not found in every target yet" in visitor.seen["status"]
    assert visitor.seen["source"]["panels"][0]["points"][3]["title"] == "4: not found yet"
    visitor.do("undo", "click", *ALL)
    assert locations(visitor) == corrected
    visitor.do("redo", "click", *ALL)
    visitor.do("find", "click", "dift", "published", *ALL)
    assert [panel[:3] for panel in locations(visitor)] == corrected
    assert (None, None) not in [panel[3] for panel in locations(visitor)]
    visitor.do("find", "click", "dift", "published", *ALL)
    assert "Nothing is left to find" in visitor.seen["status"]
    visitor.do("source", "drag", *ALL, index=0, x=70.5, y=70.5)
    visitor.do("source", "drag", *ALL, index=1, x=70.5, y=80.5)
    assert "2 points were moved after they were found: press Find" in visitor.seen["status"]
    visitor.do("undo", "click", *ALL)
    assert "1 point was moved after it was found: press Find" in visitor.seen["status"]
    visitor.do("undo", "click", *ALL)
    assert "moved after" not in visitor.seen["status"]
    # Another method finds everything anew, but keeps corrections.
    visitor.do("find", "click", "attention-dift", "fast", *ALL)
    assert locations(visitor)[1][0] == (9.0, 9.5)
    assert len({match.label for match in visitor.work.matches.values()}) == 2
    # Undo every step: the results are as they were.
    visitor.do("undo", "click", *ALL)
    visitor.do("undo", "click", *ALL)
    visitor.do("undo", "click", *ALL)
    assert locations(visitor) == corrected
    visitor.do("undo", "click", *ALL)
    assert locations(visitor)[1][0] != (9.0, 9.5)
