"""Quick starts and tutorials do what they say; so does what runs them."""

from pathlib import Path

import pytest

from docs.pages import blocks, run, same

DOCS = Path(__file__).parents[2] / "docs"
RUN = [
    page
    for page in sorted([*DOCS.glob("start/*.md"), *DOCS.glob("tutorials/*.md")])
    if any(block.language in ("bash", "python") for block in blocks(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run(page, tmp_path)


def page(folder: Path, *content: str) -> Path:
    path = folder / "page.md"
    path.write_text("Words.\n\n" + "\n\n".join(f"```{block}\n```" for block in content) + "\n")
    return path


def test_blocks_are_run_in_order_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    content = [
        'python title="one.py"\nvalue = 3',
        "bash\npython -c 'import one; print(one.value)'",
        "text\n3",
        "console\nexit 1",
        "python\na = 2",
        "python\nprint(a)\nprint('0.51')",
        "text\n2\n0.5",
    ]
    run(page(tmp_path, *content), tmp_path)


@pytest.mark.parametrize("content", [("bash\nexit 3",), ("python\nprint(1)", "text\n2"), ("bash\necho", "text\nmore")])
def test_a_page_that_does_not_fails(content: tuple[str, ...], tmp_path: Path):
    with pytest.raises(AssertionError, match=r"page\.md, line \d+: "):
        run(page(tmp_path, *content), tmp_path)


@pytest.mark.parametrize(
    ("expected", "printed", "agree"),
    [
        ("a  b\n", "a b\n", True),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\n", "b\n", False),
        ("at 0.93 of 4\n", "at 0.91 of 4\n", True),
        ("at 0.93 of 4\n", "at 0.91 of 5\n", False),
        ("at 90.0\n", "at 70.0\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_output_agrees_but_for_rounding(expected: str, printed: str, agree: bool):
    assert same(expected, printed) is agree
