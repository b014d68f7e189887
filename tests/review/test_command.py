"""``semcorr review`` as a command: what it writes without a page, and how it refuses."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE
from semcorr.cli.main import main
from semcorr.review.objects import State
from semcorr.review.review import Review


def test_it_writes_without_a_page(predictions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Review(predictions).open() as review:
        review.change({0: State(**{**review.objects[0].state.model_dump(), "decision": "accepted"})}, {0: 0})
    output = predictions.with_name("mine.json")
    assert main(["review", str(predictions), "-o", str(output), "--write"]) == 0
    assert f"Written: {output}" in capsys.readouterr().out.replace("\n", "")
    (one,) = [one for one in json.loads(output.read_text(encoding="utf-8"))["annotations"] if one["id"] == 2]
    assert one["semcorr"]["accepted"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "none.json"),
        (["{file}", "--min-confidence", "2"], "Expected --min-confidence from 0 to 1"),
        (["{file}", "-o", "{file}"], "is read from"),
        (["{file}", "--port", "70000"], "cannot be served"),
    ],
)
def test_it_refuses(predictions: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    assert main(["review", *(one.format(file=predictions) for one in arguments)]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_ends_in_order(predictions: Path, start: Callable[..., Any], number: int, status: int) -> None:
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    command = start(predictions)
    assert command.client.ask("/api/list")[0] == 200
    command.process.send_signal(number)
    assert command.process.wait(timeout=DEADLINE) == status
    start(predictions)  # nothing keeps it out


def test_it_opens_without_pytorch(predictions: Path) -> None:
    """Whose import takes longer than all else; predicting again is what needs it."""
    code = (
        "import sys; from semcorr.cli.main import main; main(['review', sys.argv[1], '--write']);"
        "import semcorr.review.again, semcorr.review.serve, semcorr.review.server; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(predictions)], check=True, stdout=subprocess.DEVNULL)
