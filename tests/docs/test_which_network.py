"""The page that compares networks quotes what is published, never mixed, and has every family."""

from benchmarks.doc_tables import ROOT, rendered
from semcorr.evaluation.report.published import quoted
from semcorr.models.diffusion import FAMILIES

PAGE = ROOT / "docs" / "which-network.md"
TITLES = {
    "**Per image**": ("per image", True),
    "**Per point**": ("per point", True),
    "**The source": ("per point", False),
}


def tables(text: str) -> dict[str, list[list[str]]]:
    """The rows of each table below a paragraph that begins like one of ``TITLES``."""
    result: dict[str, list[list[str]]] = {}
    title = ""
    for line in text.splitlines():
        title = next((known for known in TITLES if line.startswith(known)), "" if line.startswith("#") else title)
        if title and line.startswith("| ") and "---" not in line:
            result.setdefault(title, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return {title: rows[1:] for title, rows in result.items()}


def test_each_table_has_figures_of_one_average_as_they_are_quoted() -> None:
    figures = {
        (figure.averaging, figure.averaging_stated, figure.method, figure.value)
        for figure in quoted("spair-71k")
        if figure.alpha == 0.1 and not figure.supervision and figure.threshold == "target-box"
    }
    shown = tables(PAGE.read_text(encoding="utf-8"))
    assert list(shown) == list(TITLES)
    for title, rows in shown.items():
        assert len(rows) >= 4
        for method, _, value in rows:
            assert (*TITLES[title], method, float(value)) in figures


def test_families_on_the_page_are_those_of_the_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rendered(text)[0] == text, "Type: python -m benchmarks.doc_tables"
    for name in FAMILIES:
        assert text.count(f"\n| {name} |") == 2
