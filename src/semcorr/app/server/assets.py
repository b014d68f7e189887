"""A page's own files: HTML, styles and scripts in a folder of the package, and nothing else of the disk."""

from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_TYPES = {"css": "text/css", "js": "text/javascript"}


class Assets:
    """The files of a page.

    Args:
        folder: Where they are: ``index.html``, and styles and scripts beside it.
        shared: Styles and scripts of other pages that it uses as well.
    """

    def __init__(self, folder: Traversable, *shared: Traversable) -> None:
        files = [*folder.iterdir(), *shared]
        self._files = {file.name: file for file in files if file.name.rpartition(".")[2] in _TYPES}
        self._index = folder / "index.html"

    def index(self) -> Response:
        """The page."""
        return HTMLResponse(self._index.read_text(encoding="utf-8"), headers={"cache-control": "no-store"})

    def route(self) -> Route:
        """The route of styles and scripts."""
        return Route("/assets/{name}", self._answer)

    async def _answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return Response("There is nothing here.", 404)
        text, kind = self._files[name].read_text(encoding="utf-8"), _TYPES[name.rpartition(".")[2]]
        # Another version of the package may serve at the same address tomorrow.
        return Response(text, media_type=kind, headers={"cache-control": "no-cache"})
