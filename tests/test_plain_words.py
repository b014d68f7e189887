"""One word has one meaning: the words that stand for several are used nowhere, and the command finds them."""

from pathlib import Path

import pytest

from tools import words


@pytest.mark.slow
def test_the_project_does_not_use_them() -> None:
    assert [f"{use.path}:{use.line}: {use.word}" for path in words.files([]) for use in words.uses(path)] == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "told = 1\n", ["told"]),
        ("a.py", "def lookUpPictures(): ...\n", ["look", "pictures"]),
        ("a.py", '"""The image that was wanted."""\n', ["wanted"]),
        ("a.py", "x = 1  # what was found is kept, in place\n", []),
        ("a.py", "replace(spreadsheet, something)\n", []),
        ("a.md", "A place to look, with `found_points`.\n", ["found", "place"]),
        ("a.md", "Machine learning takes place here, at a learning rate.\n", []),
    ],
)
def test_the_command_finds_them(name: str, text: str, expected: list[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(words, "ROOT", tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert sorted(use.word for use in words.uses(tmp_path / name)) == expected
