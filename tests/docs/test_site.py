"""The documentation as a site: it is whole, and asks nobody for anything."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt

import semcorr
from semcorr import errors

ROOT = Path(__file__).parents[2]
_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
_ONLY_NAMED = {"canonical", "prev", "next"}


class Loaded(HTMLParser):
    """Collects what a browser fetches when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        address = attributes.get(_LOADED.get(tag, ""))
        if address and attributes.get("rel") not in _ONLY_NAMED:
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_pages_load_what_is_their_own(site: Path):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert any(address.endswith(".css") for address in loaded.addresses)
        for address in loaded.addresses:
            parts = urlsplit(address)
            assert not parts.scheme, f"{page.name} loads {address}"
            assert not parts.netloc, f"{page.name} loads {address}"
            # 404.html is served for any path: it alone names files from the root.
            path = site / parts.path.lstrip("/") if page.name == "404.html" else page.parent / parts.path
            assert path.exists(), f"{page.name} loads {address}, which is not there"


@pytest.mark.slow
def test_references_in_docstrings_are_links(site: Path):
    page = (site / "reference" / "index.html").read_text(encoding="utf-8")
    assert not re.search(":(attr|class|func|meth|mod):`", page)
    assert "<code>load_matcher</code></a>" in page


@pytest.mark.slow
def test_stylesheets_load_nothing_from_elsewhere(site: Path):
    stylesheets = sorted(site.rglob("*.css"))
    assert stylesheets
    for stylesheet in stylesheets:
        assert "url(http" not in stylesheet.read_text(encoding="utf-8")
        assert "@import" not in stylesheet.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_repository_lead_somewhere(name: str):
    """Those of ``docs`` are mkdocs' to check; these two lie outside."""
    tokens = MarkdownIt().enable("table").parse((ROOT / name).read_text(encoding="utf-8"))
    inner = [child for token in tokens for child in token.children or []]
    addresses = [
        str(token.attrs.get("href") or token.attrs["src"]) for token in inner if token.type in ("link_open", "image")
    ]
    own = [urlsplit(address) for address in addresses if not urlsplit(address).scheme]
    assert own
    for address in own:
        assert (ROOT / address.path).exists(), f"{name} leads to {address.path}, which is not there"


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert "::: semcorr.errors\n" in pages
    for name in semcorr.__all__:
        assert f"::: semcorr.{name}\n" in pages or hasattr(errors, name), name
