"""Count the words that the project does not use, in identifiers, messages, docstrings, comments and documents.

``python -m tools.words [PATH ...] [--list]`` prints how many there are in each folder, and exits with 1 if there are
any. One word has one meaning here: the left column of :data:`WORDS` is what to write instead.
"""

import argparse
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

WORDS: dict[str, tuple[str, ...]] = {
    "message, error_message": ("told",),
    "requested, expected": ("wanted",),
    "image": ("picture", "pictures"),
    "key-point, query point, location": ("spot", "spots", "place", "places"),
    "object, instance": ("thing", "things"),
    "report, table, figure": ("sheet", "sheets", "remark", "remarks", "shelf", "desk"),
    "optimize, optimized": ("learn", "learns", "learnt", "learned", "learning"),
}
"""What to write, and the words that stand for it nowhere: neither in a name nor in a sentence."""

NAMES: dict[str, tuple[str, ...]] = {
    "predicted, prediction, matches": ("found",),
    "preview, report": ("look", "looks", "looked"),
}
"""Words that a sentence may use ("no file was found", "looks like") and a name may not."""

PHRASES = ("numbers that are none", "gone on with", "left as it is", "left as they are", "a look", "the look")
"""Phrases that a usual word says better."""

TERMS = (
    r"(machine|deep|metric|representation)[- ]learning",
    r"learning[ _]rate",
    r"not_?found",
    r"scikit-learn|sklearn",
    r"in[- ]place",
    r"decimal places?",
    r"(takes?|took|taken) (the )?place( of)?",
    r"style ?sheets?",
    r"spreadsheets?",
    r"\w*NotFoundError",
    r"keypoints_found",  # a field of the COCO files that transfers write
)
"""Terms of the field and of English in which such a word stands for what it always does."""

EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "CHANGELOG.md": ("*",),
    "tools/words.py": ("*",),
    "tests/test_plain_words.py": ("*",),
    "src/semcorr/evaluation/runs/ablation.py": ("learning",),
    "src/semcorr/evaluation/runs/records.py": ("remarks",),
    "src/semcorr/keypoints/predictions.py": ("remarks",),
    "src/semcorr/storage/safetensors.py": ("remarks",),
    "src/semcorr/settings.py": ("learn",),
    "docs/method.md": ("learned",),  # once, to explain
    "src/semcorr/matchers/prompt/random_streams.py": ("learn",),
    "tests/matchers/prompt/test_settings.py": ("learn",),
}
"""Files that must say a word: names that files of the version before hold, and this one."""

SUFFIXES = (".py", ".md", ".html", ".js", ".css", ".toml", ".yml")
_TERMS = re.compile("|".join(TERMS), re.IGNORECASE)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True)
class Use:
    """A word that is used, and the line that it is on."""

    path: str
    line: int
    word: str
    text: str


def uses(path: Path) -> Iterator[Use]:
    """Every use of a word in a file."""
    name = path.relative_to(ROOT).as_posix()
    allowed = EXCEPTIONS.get(name, ())
    if "*" in allowed:
        return
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for line, word in _of_python(text) if path.suffix == ".py" else _of_prose(lines):
        if word not in allowed:
            yield Use(name, line, word, lines[line - 1].strip())


def _of_python(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            for part in _PARTS.findall(_TERMS.sub("", token.string)):
                if _is_name(part.lower()):
                    yield token.start[0], part.lower()
        elif token.type in (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            for number, word in _of_prose(token.string.splitlines()):
                yield token.start[0] + number - 1, word


def _of_prose(lines: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        plain = _TERMS.sub("", line)
        for name in re.findall(r"\w*_\w+|(?<=`)\w+(?=`)|\b[a-z]+[A-Z]\w*", plain):
            for part in _PARTS.findall(name):
                if part.lower() in _names_only():
                    yield number, part.lower()
        for match in _PARTS.findall(plain):
            if any(match.lower() in words for words in WORDS.values()):
                yield number, match.lower()
        for phrase in PHRASES:
            if re.search(rf"\b{phrase}\b", plain, re.IGNORECASE):
                yield number, phrase


def _names_only() -> frozenset[str]:
    return frozenset(word for words in NAMES.values() for word in words)


def _is_name(word: str) -> bool:
    return word in _names_only() or any(word in words for words in WORDS.values())


def files(paths: list[str]) -> list[Path]:
    """The project's own texts below the paths, all by default."""
    listed = subprocess.run(  # noqa: S603  # paths are the caller's own
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if name.endswith(SUFFIXES) and (ROOT / name).is_file()]


def main() -> None:
    """Print the counts; exit with 1 where there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", help="files or folders; the whole project by default")
    parser.add_argument("--list", action="store_true", help="print every line")
    options = parser.parse_args()
    every = [use for path in files(options.paths) for use in uses(path)]
    if options.list:
        for use in every:
            sys.stdout.write(f"{use.path}:{use.line}: {use.word}: {use.text}\n")
    folders = Counter("/".join(use.path.split("/")[:3]) if "/" in use.path else use.path for use in every)
    for folder, count in sorted(folders.items()):
        sys.stdout.write(f"{count:6d} {folder}\n")
    words = ", ".join(f"{word} {count}" for word, count in Counter(use.word for use in every).most_common())
    sys.stdout.write(f"{len(every):6d} in all{': ' + words if words else ''}\n")
    sys.exit(1 if every else 0)


if __name__ == "__main__":
    main()
