"""Runs the blocks of a page, in order, as a reader would: ``bash`` and ``python`` are run, others are only shown.

A block with a title (``title="colours.py"``) is written to that file. A ``text`` block is what the block before it
prints: a line ``...`` stands for any lines, decimal fractions may be off by a little, all else must be the same.
"""

import contextlib
import io
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

_NUMBER = re.compile(r"\d+\.\d+")
_OFF = 0.15
"""Decimal fractions may be off by this part of themselves, or by this much: another processor rounds otherwise."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block; ``line`` is the first of its content, from 1 on."""

    language: str
    title: str | None
    content: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            language, _, rest = token.info.partition(" ")
            title = re.fullmatch(r'title="(.+)"', rest)
            yield Block(
                language=language, title=title[1] if title else None, content=token.content, line=token.map[0] + 2
            )


def run(page: Path, folder: Path) -> None:
    """Run a page in the current folder, which is ``folder``."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        location = f"{page.name}, line {block.line}"
        if block.title:
            (folder / block.title).write_text(block.content, encoding="utf-8")
        elif block.language == "bash":
            printed = _shell(block.content, location)
        elif block.language == "python":
            printed = _python(block, page, names)
        elif block.language == "text":
            assert same(block.content, printed), f"{location}: expected\n{block.content}\ngot\n{printed}"


def _shell(command: str, location: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, "PATH": path, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{location}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _python(block: Block, page: Path, names: dict[str, Any]) -> str:
    out = io.StringIO()
    # As many empty lines as come before it, so that a traceback names the page's own line.
    code = compile("\n" * (block.line - 1) + block.content, str(page), "exec")
    with contextlib.redirect_stdout(out):
        exec(code, names)  # noqa: S102  # the page's own code
    return out.getvalue()


def same(expected: str, printed: str) -> bool:
    """Whether a page's output and a run's agree."""
    return _lines([line.split() for line in expected.splitlines()], [line.split() for line in printed.splitlines()])


def _lines(expected: list[list[str]], printed: list[list[str]]) -> bool:
    if not expected:
        return not printed
    if expected[0] == ["..."]:
        return any(_lines(expected[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and _line(" ".join(expected[0]), " ".join(printed[0])) and _lines(expected[1:], printed[1:])


def _line(expected: str, printed: str) -> bool:
    numbers = zip(_NUMBER.findall(expected), _NUMBER.findall(printed), strict=False)
    return _NUMBER.sub("#", expected) == _NUMBER.sub("#", printed) and all(
        math.isclose(float(one), float(other), rel_tol=_OFF, abs_tol=_OFF) for one, other in numbers
    )
