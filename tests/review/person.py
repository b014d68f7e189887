"""Somebody at the page of the review who knows where the points are."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

RING = 40
"""Pixels of the screen: a click this near to a chosen point, on its ring or its number, chooses it again."""


class Person:
    """Corrects the object that is shown, by mouse and keyboard.

    Args:
        tab: The page.
        client: Another client of its server, which says what is shown and what is saved.
    """

    def __init__(self, tab: "Tab", client: Any) -> None:
        self.tab, self.client = tab, client

    def shown(self) -> dict[str, Any]:
        """The object that is worked on, as the server has it."""
        return self.client.object(int(self.tab.get_attribute(".card[aria-current]", "data-number") or ""))

    def correct(self, true: np.ndarray, near: float) -> dict[int, list[float]]:
        """Put points where they belong, and remove those that the image does not show.

        Args:
            true: Where the points are, in the page's frame; NaN for what the image does not show.
            near: Points that are off by no more, in pixels of the image, stay.

        Returns:
            The points that were set, as they are saved.
        """
        points = self.shown()["state"]["points"]
        changed = []
        for row, (point, end) in enumerate(zip(points, true, strict=True)):
            if np.isnan(end).any():
                if point is not None:
                    self._press(row, "r")
            elif point is None or np.hypot(*(end - point[:2])) > near:
                self._put(row, point, end)
                changed.append(row)
        after = self.shown()["state"]["points"]
        placed = {row: point[:2] for row, point in enumerate(after) if point and point[3] == "placed"}
        assert sorted(placed) == changed
        for row, point in placed.items():
            np.testing.assert_allclose(point, true[row], atol=1.5)
        return placed

    def _press(self, row: int, *keys: str) -> None:
        for key in (str(row + 1), *keys, "Escape"):
            self.tab.keyboard.press(key)
        self.tab.wait_for_selector("#saved >> text=Saved.")

    def _put(self, row: int, start: list[float] | None, end: np.ndarray) -> None:
        """Choose it by its number and click; drag it where it is near already; by arrows where another covers it."""
        points = [end.tolist() if start is None else start[:2], end.tolist()]
        (x, y, there), (to_x, to_y, in_the_way) = self.tab.locator("#stage").evaluate(
            """(stage, points) => points.map(([x, y]) => {
            const { x: across, y: down } = new DOMPoint(x, y).matrixTransform(stage.getScreenCTM());
            const point = document.elementFromPoint(across, down).closest(".point");
            return [across, down, point ? +point.dataset.number : null]; })""",
            points,
        )
        if in_the_way is None and (start is None or np.hypot(to_x - x, to_y - y) > RING):
            self.tab.keyboard.press(str(row + 1))
            self.tab.mouse.click(to_x, to_y)
            self._press(row)
        elif there == row:
            self.tab.mouse.move(x, y)
            self.tab.mouse.down()
            self.tab.mouse.move((x + to_x) / 2, (y + to_y) / 2)
            self.tab.mouse.move(to_x, to_y)
            self.tab.mouse.up()
            self._press(row)
        else:
            assert start is not None, "another point is where this one belongs: none can be clicked there"
            (right, down), keys = np.rint(end - start[:2]).astype(int).tolist(), []
            for before, after, pixels in (("Left", "Right", right), ("Up", "Down", down)):
                key = f"Arrow{after if pixels > 0 else before}"
                keys += [f"Shift+{key}"] * (abs(pixels) // 10) + [key] * (abs(pixels) % 10)
            self._press(row, *keys)
