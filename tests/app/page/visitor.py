"""A visitor of the page without a browser: the page is built as it is served, and called as Gradio calls it."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import isgenerator
from typing import Any

from semcorr.app.state import AppState

ALL = ("all points", "all layers together")
"""The first entries of the lists of points and layers."""
SHORT = {"steps": 3, "locate_crops": 4, "dift_samples": 1}
"""Settings of a short run."""


@dataclass(frozen=True)
class Visitor:
    """A user with an open page, and what the page shows: the last update of each component, by its ``elem_id``."""

    page: Any
    state: AppState
    name: str
    seen: dict[str, Any]

    def steps(self, elem_id: str, trigger: str, *values: Any, **event: Any) -> Iterator[dict[str, Any]]:
        """Trigger an event of a component; yield its updates."""
        import gradio as gr
        from gradio.context import LocalContext
        from gradio.helpers import special_args

        LocalContext.in_event_listener.set(True)  # from here on components stand for updates
        (component,) = (one for one in self.page.blocks.values() if getattr(one, "elem_id", None) == elem_id)
        (wired,) = (one for one in self.page.fns.values() if (component._id, trigger) in one.targets)
        asked = gr.Request(session_hash=self.name)
        arguments, *_ = special_args(wired.fn, list(values), asked, gr.EventData(component, event))
        result = wired.fn(*arguments)
        for update in result if isgenerator(result) else [result or {}]:
            named = {block.elem_id: _plain(value) for block, value in update.items()}
            self.seen.update(named)
            yield named

    def do(self, elem_id: str, trigger: str, *values: Any, **event: Any) -> list[dict[str, Any]]:
        """Trigger an event of a component; return all its updates."""
        return list(self.steps(elem_id, trigger, *values, **event))

    def answer(self, which: str) -> None:
        """Answer the page's question."""
        asked = self.seen["keeper"]["question"]
        assert asked["yes"]
        values = ALL if which == "confirm" else ()
        self.do("keeper", which, *values, token=asked["token"])

    def close(self) -> None:
        """Close the page."""
        import gradio as gr

        (closed,) = (one for one in self.page.fns.values() if any(trigger == "unload" for _, trigger in one.targets))
        closed.fn(gr.Request(session_hash=self.name))

    @property
    def key(self) -> str:
        """The key that the browser keeps."""
        return self.state.sessions.of(self.name).key

    @property
    def work(self) -> Any:
        return self.state.sessions.of(self.name).work


def _plain(value: Any) -> Any:
    """An update; of a component that stands for one, its changes."""
    import gradio as gr

    return value.constructor_args if isinstance(value, gr.blocks.Block) else value


def locations(visitor: Visitor) -> list[list[tuple[float, float]]]:
    """Every point's location in every target, as the page shows it."""
    return [[(one["x"], one["y"]) for one in panel["points"]] for panel in visitor.seen["targets"]["panels"]]
