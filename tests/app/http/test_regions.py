"""Regions over HTTP: what a browser may send, what is found, and what is shown of it."""

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest

from app.http.conftest import Served
from app.http.test_match import ids, png
from app.serving import Visitor
from semcorr.errors import SettingsError
from semcorr.matchers.registry import load_class

MIDDLE = {"region": 1, "radius": 8, "corners": [[20, 15]]}


def listed(visitor: Visitor) -> list[tuple[int, str, float]]:
    return [(one["id"], one["label"], one["share"]) for one in visitor.shown["regions"]["list"]]


def overlay(visitor: Visitor, shown: dict[str, Any]) -> np.ndarray:
    """What lies over an image, (height, width, 4)."""
    status, data = visitor.ask(f"/{shown['address']}")
    assert status == 200
    return np.array(PIL.Image.open(io.BytesIO(data)).convert("RGBA"))


def test_strokes_are_painted_undone_and_shown(visitor: Visitor) -> None:
    assert "no source image" in visitor.refused("paint", **MIDDLE)
    visitor.send("source", "a.png", png())
    visitor.step("paint", **MIDDLE)
    visitor.step("paint", region=2, radius=2, corners=[[5, 5], [5, 25]])
    visitor.step("name-region", region=2, name="tail")
    first, second = listed(visitor)
    assert first == (1, "region 1", pytest.approx(np.pi * 64 / 1200, rel=0.05))
    assert second == (2, "tail", pytest.approx((80 + np.pi * 4) / 1200, rel=0.1))
    assert visitor.shown["undo"] == "name changed"
    colours = [one["colour"] for one in visitor.shown["regions"]["list"]]
    seen = overlay(visitor, visitor.shown["regions"])
    assert seen.shape == (30, 40, 4)
    assert ["#{:02x}{:02x}{:02x}".format(*seen[row, column, :3]) for row, column in ((15, 20), (15, 5))] == colours
    assert (seen[15, 20, 3], seen[29, 39, 3]) == (255, 0)
    assert visitor.shown["regions"]["next"]["number"] == 3
    visitor.step("delete-region", region=1)
    assert [one[0] for one in listed(visitor)] == [2]
    visitor.step("undo")
    assert len(listed(visitor)) == 2
    assert visitor.step("clear-regions")["question"]["text"].startswith("This removes your 2 painted regions.")
    assert "1 painted region" not in str(visitor.step("clear-points"))  # which asks nothing: there are no points
    _, answer = visitor.send("source", "b.png", png())
    assert "2 painted regions" in answer["question"]["text"]
    visitor.step("clear-regions", sure=True)
    assert (listed(visitor), visitor.shown["regions"]["address"]) == ([], None)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"region": 256}, 400, "region"),
        ({"region": 2}, 422, "not there any more"),
        ({"radius": 0}, 400, "radius"),
        ({"radius": 1e308}, 422, "smaller than the image"),
        ({"radius": "NaN"}, 400, "radius"),
        ({"corners": []}, 400, "corners"),
        ({"corners": [[1, 2, 3]]}, 400, "corners"),
        ({"corners": [[1, float("1e999")]]}, 400, "corners"),
        ({"corners": [[41, 2]]}, 422, "40 × 30 pixels, got (41, 2)"),
        ({"corners": [[1, 2]] * 2001}, 422, "at most 2000 corners, got 2001"),
        ({"other": 1}, 400, "other"),
        ({"base": 0}, 409, "changed on another page"),
    ],
    ids=str,
)
def test_strokes_that_do_not_fit_are_refused(
    visitor: Visitor, fields: dict[str, Any], status: int, message: str
) -> None:
    visitor.send("source", "a.png", png())
    asked = {"base": visitor.shown["revision"], **MIDDLE, **fields}
    answered, answer = visitor.ask("/api/work/paint", asked)
    assert answered == status, answer
    assert message in answer["error"]
    assert visitor.reload()["regions"]["list"] == []


def test_a_stroke_in_a_large_image_is_in_the_original_s_pixels(visitor: Visitor) -> None:
    visitor.send("source", "large.png", png(800, 600))
    assert visitor.shown["source"]["held"] == [115, 86]
    visitor.step("paint", region=1, radius=100, corners=[[400, 300]])
    assert listed(visitor)[0][2] == pytest.approx(np.pi * 100**2 / (800 * 600), rel=0.02)
    # A brush that is finer than a pixel of the held image paints one.
    visitor.step("paint", region=2, radius=0.1, corners=[[1, 1]])
    assert 1 <= round(listed(visitor)[1][2] * 115 * 86) <= 4


def test_a_method_that_finds_regions_finds_them(server: Served, visitor: Visitor) -> None:
    visitor.step("example", category="bird")
    visitor.step("clear-points", sure=True)
    for target in ids(visitor, "targets")[1:]:
        visitor.step("remove-target", target=target)
    offered = [one["name"] for one in visitor.shown["methods"] if one["regions"]]
    assert offered == [one["name"] for one in visitor.shown["methods"] if load_class(one["name"]).capabilities.regions]

    def refused(method: str, preset: str | None = None) -> str:
        asked = {"method": method, "preset": preset, "what": "regions", "base": visitor.shown["revision"]}
        status, answer = visitor.ask("/api/find", asked)
        assert status == 422, answer
        return str(answer["error"])

    assert "First paint a region" in refused("dift")
    with pytest.raises(SettingsError, match=f"'asic' finds no regions. Choose one that does: {', '.join(offered)}"):
        server.state.matchers.check_finds_regions("asic", example=True)
    visitor.step("paint", region=1, radius=20, corners=[[128, 128]])
    assert visitor.shown["targets"][0]["regions"] is None
    job = visitor.find("dift", "clean", what="regions")
    assert (job["state"], job["kind"]) == ("done", "find"), job
    assert job["message"].startswith("Done with dift, clean, on toy")
    shown = visitor.shown["targets"][0]["regions"]
    assert not shown["outdated"]
    assert 0 < shown["confidence"]["1"] <= 1
    assert 0 < (overlay(visitor, shown)[..., 3] > 0).mean() < 0.5
    assert visitor.shown["undo"] == "regions found"
    assert visitor.shown["method"] == "dift"
    assert "Nothing is left to find with dift, clean" in refused("dift", "clean")
    # In a target that is added they are located by the same query.
    with server.state.sessions.using(visitor.key) as session:
        described = session.work.described_regions
        visitor.send("target", "grey.png", png())
        assert visitor.shown["regions"]["to_find"].startswith("The regions are not searched for in 1 target yet")
        assert "regions of 1 target are not in the files" in visitor.ask("/api/work/export", {})[1]["message"]
        assert visitor.find("dift", "clean", what="regions")["state"] == "done"
        assert session.work.described_regions is described
        assert len(session.work.regions) == 2
    files = visitor.ask("/api/work/export", {})[1]
    assert files["message"] == ""
    assert {"regions.coco.json", "bird-source-regions.png", "grey-regions.png"} <= {
        one["name"] for one in files["files"]
    }
    visitor.step("paint", region=1, radius=20, corners=[[140, 128]])
    assert visitor.shown["targets"][0]["regions"]["outdated"]
    assert visitor.shown["regions"]["to_find"].startswith("The regions were painted anew")
