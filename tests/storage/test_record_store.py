"""Stores of records: headers are compared, lines are only ever appended, and stores are merged by copying."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from semcorr.errors import RunError
from semcorr.storage.record_store import (
    Shard,
    append,
    copy_records,
    differences,
    new_record_file,
    open_store,
    read_header,
    read_line,
    read_lines,
    settings_hash,
)


class Header(BaseModel):
    settings: dict[str, int]


def test_differences_are_named_with_both_values() -> None:
    first, second = {"a": {"b": 1, "c": [2]}, "d": 3}, {"a": {"b": 1, "c": [4]}, "e": None}
    assert differences(first, first) == ""
    assert (
        differences(first, second) == "a.c: [2] there, [4] here; d: 3 there, nothing here; e: nothing there, None here"
    )
    assert differences(first, second, ignore={"a.c", "d"}) == "e: nothing there, None here"


def test_the_hash_of_settings_is_of_their_values_in_any_order() -> None:
    assert settings_hash({"a": 1, "b": {"c": 2}}) == settings_hash({"b": {"c": 2}, "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})


def test_a_header_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "store" / "run.json"
    for value in (1, 2):
        open_store(path, {"settings": {"a": value}})
    assert read_header(path, Header, "Delete it.").settings == {"a": 1}
    assert [one.name for one in sorted(path.parent.iterdir())] == ["records", "run.json"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"settings": 1}', '{"settings": {"a": "b"}}', "\xff"])
def test_a_broken_header_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"run\.json is broken .*Delete it\."):
        read_header(path, Header, "Delete it.")


def test_lines_are_read_by_where_they_begin_also_after_one_that_was_cut_short(tmp_path: Path) -> None:
    open_store(tmp_path / "run.json", {})
    path = new_record_file(tmp_path, Shard(number=1, count=2))
    assert path.name == "1-of-2.0.jsonl"
    assert append(path, "first, of ü") == 0
    with path.open("ab") as file:
        file.write(b'{"cut')
    start = append(path, "second")
    assert [(one, line) for one, _, line in read_lines(tmp_path)] == [
        (path, "first, of ü\n".encode()),
        (path, b'{"cutsecond\n'),
    ]
    assert start == len("first, of ü\n".encode()) + len(b'{"cut')
    assert read_line(path, start) == b"second\n"
    assert new_record_file(tmp_path, Shard(number=1, count=2)).name == "1-of-2.1.jsonl"


def test_records_of_several_stores_do_not_collide(tmp_path: Path) -> None:
    stores = [tmp_path / name for name in ("one", "two", "merged")]
    for store in stores:
        open_store(store / "run.json", {})
    for store in stores[:2]:
        append(new_record_file(store, Shard()), store.name)
    copy_records(stores[:2], stores[2])
    assert [line for _, _, line in read_lines(stores[2])] == [b"one\n", b"two\n"]
