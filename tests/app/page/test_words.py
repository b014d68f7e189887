"""The tab *Words*, without a browser."""

from app.page.visitor import Visitor


def test_each_word_of_a_prompt_gets_a_map(visitor: Visitor) -> None:
    visitor.do("words-source", "click")
    assert "no source" in visitor.seen["words-status"]
    visitor.do("words-show", "click", "a face")
    assert "First send an image" in visitor.seen["words-status"]
    visitor.do("example-face", "click")
    visitor.do("words-source", "click")
    assert len(visitor.seen["words-image"]["panels"]) == 1
    visitor.do("words-example-face", "click")
    visitor.do("words-show", "click", "x" * 41)
    assert "41" in visitor.seen["words-status"]
    visitor.do("words-show", "click", "a face with red nose")
    assert [one["title"] for one in visitor.seen["words"]["panels"]] == ["a", "face", "with", "red", "nose"]
    assert "words.png" in visitor.seen["words-files"]
