"""The page as a whole: its functions are private, its controls have labels, and work on every tab can be cancelled."""

import threading
from typing import Any

import pytest

from app.page.visitor import ALL, Visitor


def test_nothing_can_be_called_by_name(page: Any) -> None:
    assert {one.api_visibility for one in page.fns.values()} == {"private"}


def test_every_control_has_a_label(page: Any) -> None:
    import gradio as gr

    used = [one for one in page.blocks.values() if isinstance(one, (gr.Button, gr.Dropdown, gr.Textbox, gr.Slider))]
    assert len(used) > 30
    for one in used:
        assert getattr(one, "label", None) or getattr(one, "value", None) or getattr(one, "placeholder", None)
    ids = [one.elem_id for one in page.blocks.values() if getattr(one, "elem_id", None)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("find", "cancel", "status", "values"),
    [
        ("find", "cancel", "status", ["attention-dift", "fast", *ALL]),
        ("words-show", "words-cancel", "words-status", ["a b"]),
        ("maps", "maps-cancel", "inspect-status", []),
    ],
)
def test_work_is_cancelled(visitor: Visitor, find: str, cancel: str, status: str, values: list[str]) -> None:
    visitor.do("example-bird", "click")
    visitor.do("words-source", "click")
    blocker = threading.Event()
    visitor.state.queue.submit(lambda job: blocker.wait(60))
    updates = visitor.steps(find, "click", *values)
    next(updates)
    visitor.do(cancel, "click")
    last = list(updates)[-1]
    blocker.set()
    assert "Cancelled" in last[status]
    assert (last[find]["interactive"], last[cancel]["interactive"]) == (True, False)
