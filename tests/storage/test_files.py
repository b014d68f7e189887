from pathlib import Path

import pytest

from semcorr.storage.files import exists, is_dir, is_file, write_atomically


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file"
    for data in (b"first", b"second, which is longer"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"data")
    with pytest.raises(OSError, match="file"):
        write_atomically(tmp_path / "file" / "inside", b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "x"


def test_names_that_the_system_cannot_have_are_of_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    assert [ask(tmp_path / "file") for ask in (exists, is_file, is_dir)] == [True, True, False]
    assert [ask(tmp_path) for ask in (exists, is_file, is_dir)] == [True, False, True]
    for name in ("none", "x" * 300, "a\0b", "file/inside"):
        assert not any(ask(tmp_path / name) for ask in (exists, is_file, is_dir))
