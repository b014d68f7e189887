"""The answers about the runs of the benchmark kit."""

from starlette.routing import Route

from semcorr.app.state import AppState


def routes(state: AppState) -> list[Route]:  # noqa: ARG001
    """All routes about runs."""
    return []
