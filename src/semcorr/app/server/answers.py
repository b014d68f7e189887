"""Answers to requests: JSON of what a function returns, or an error message with its status."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from semcorr.errors import SemcorrError

Handle = Callable[[Request, bytes], Any]
"""What answers a request with its body: it returns a response, or what becomes JSON."""

Refusal = Callable[[SemcorrError], tuple[int, Mapping[str, Any]]]
"""The status of an error, and what the answer says besides its message."""


def answered(handle: Handle, refusal: Refusal, limiter: CapacityLimiter | None = None) -> Callable[[Request], Any]:
    """A route's function: it calls ``handle`` in a thread.

    Args:
        handle: Answers a request.
        refusal: The status of an error.
        limiter: How many threads do this at a time; None for as many as there are for requests.
    """

    async def answer(request: Request) -> Response:
        body = await request.body()
        try:
            result = await anyio.to_thread.run_sync(handle, request, body, limiter=limiter)
        except ValidationError as error:
            return JSONResponse({"error": _misfit(error)}, 400)
        except SemcorrError as error:
            status, more = refusal(error)
            return JSONResponse({"error": str(error), **more}, status)
        if isinstance(result, Response):
            return result
        content = json.dumps(result, allow_nan=False)
        return Response(content, media_type="application/json", headers={"cache-control": "no-store"})

    return answer


def _misfit(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"The request does not fit ({where}: {first['msg']}). Reload the page."
