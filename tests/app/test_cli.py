"""``semcorr app`` where it cannot start."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from semcorr.cli import main


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "platformdirs"])
def test_without_its_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; from semcorr.cli import main; sys.exit(main(['app']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{missing} is not installed" in done.stderr
    assert done.stderr.strip().endswith('Type: pip install "semcorr[app]"')
    assert "Traceback" not in done.stderr


def test_what_cannot_be_served_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", "--port", str(port)]) == 2
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
    assert main(["app", "--port", "0", "--method", "nope"]) == 2
    assert "nope" in capsys.readouterr().err
    assert main(["app", "--port", "0", "--max-megabytes", "0"]) == 2
    assert "positive" in capsys.readouterr().err
    (tmp_path / "file").write_text("not a folder")
    assert main(["app", "--port", "0", "--works", str(tmp_path / "file")]) == 2
    assert "Choose another folder with --works" in capsys.readouterr().err


def test_help_warns_that_there_is_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    main(["app", "--help"])
    words = "".join(letter if letter.isalnum() else " " for letter in capsys.readouterr().out).split()
    assert "there is no password" in " ".join(words)
