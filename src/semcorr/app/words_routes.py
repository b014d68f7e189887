"""The answers about the tab *Words*."""

from starlette.routing import Route

from semcorr.app.state import AppState


def routes(state: AppState) -> list[Route]:  # noqa: ARG001
    """All routes about words."""
    return []
