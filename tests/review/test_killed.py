"""Kill -9 in the middle of many corrections: what was answered is there after a restart."""

import http.client
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from review.files import write_coco

pytestmark = pytest.mark.slow

OBJECTS, CORRECTIONS, BETWEEN_KILLS = 40, 200, 40


def test_nothing_that_was_answered_is_lost(tmp_path: Path, start: Callable[..., Any]) -> None:
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    path = write_coco(tmp_path / "data", OBJECTS + 1, drawn=False)
    draws = np.random.default_rng(0)
    answered: dict[int, dict[str, Any]] = {}
    sent = kills = 0
    while sent < CORRECTIONS:
        command = start(path)
        client = command.client
        for number, state in answered.items():
            assert client.object(number)["state"] == state
        killer = threading.Timer(0, command.kill)
        number = -1
        try:
            while True:
                number = int(draws.integers(OBJECTS))
                before = client.object(number)
                moved = [*draws.uniform(0, 59, 2).tolist(), 2, "placed"]
                state = {"category": "cat", "decision": "open", "points": [moved, *before["state"]["points"][1:]]}
                sent += 1
                if sent % BETWEEN_KILLS == 0:
                    killer.start()  # while corrections go on
                change = {"number": number, "base": before["revision"], "state": state}
                status, answer, _ = client.ask("/api/objects", [change])
                assert status == 200
                answered[number] = answer["objects"][0]["state"]
        except (OSError, http.client.HTTPException):
            # The change under way may have been written before the kill; nobody was answered.
            answered.pop(number, None)
        killer.join()
        kills += 1
    client = start(path).client
    for number, state in answered.items():
        assert client.object(number)["state"] == state
    assert kills >= 3
    assert len(answered) > OBJECTS / 2
