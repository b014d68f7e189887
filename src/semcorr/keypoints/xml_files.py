"""XML of strangers: no entities, nothing from elsewhere, and the line of every element for messages."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.parsers import expat

from semcorr.errors import DatasetError
from semcorr.keypoints.file_reader import Folder

_MOST_BYTES = 2**30
_DEEPEST = 100


class XmlFile:
    """A parsed file.

    Args:
        folder: For messages.
        path: The file.

    Raises:
        DatasetError: It is missing, no XML, has a DOCTYPE, or is too large or nested too deeply.
    """

    def __init__(self, folder: Folder, path: Path) -> None:
        self.folder, self.path = folder, path
        self._lines: dict[ET.Element, int] = {}
        # Also refuses what is no file, and bytes that are no text.
        text = folder.text(path)
        if len(text) > _MOST_BYTES:
            raise folder.wrong(f"expected at most 1 GiB of XML in {str(path)!r}, got {len(text)} bytes.")
        self.root = self._parsed(text)

    def wrong(self, element: ET.Element | None, expected: str, got: str, *, do: str = "") -> DatasetError:
        """The error that names the line of an element."""
        line = f" in line {self._lines[element]}" if element in self._lines else ""
        return self.folder.wrong(
            f"expected {expected}{line} of {str(self.path)!r}, got {got}." + (f" {do}" if do else "")
        )

    def attribute(self, element: ET.Element, name: str) -> str:
        """An attribute that must be there.

        Raises:
            DatasetError: It is not.
        """
        value = element.get(name)
        if value is None:
            raise self.wrong(element, f"an attribute {name!r} of <{element.tag}>", "none")
        return value

    def numbers(self, element: ET.Element, values: list[str], count: int, what: str) -> tuple[float, ...]:
        """``count`` finite numbers of an element.

        Raises:
            DatasetError: There are more or fewer, or one is not a number.
        """
        return self.folder.numbers(values, count, f"{what} in line {self._lines[element]}", self.path)

    def _parsed(self, text: str) -> ET.Element:
        builder, depth = ET.TreeBuilder(), 0
        parser = expat.ParserCreate("utf-8")

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > _DEEPEST:
                raise self.folder.wrong(f"expected elements up to {_DEEPEST} deep in {str(self.path)!r}, got more.")
            self._lines[builder.start(tag, dict(attributes))] = parser.CurrentLineNumber

        def end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            builder.end(tag)

        def doctype(*_: object) -> None:
            raise self.folder.wrong(
                f"expected no DOCTYPE in {str(self.path)!r}, got one in line {parser.CurrentLineNumber}: its entities "
                "are not read. Take it out."
            )

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, doctype
        try:
            # The text is decoded already, whatever encoding its first line says.
            parser.Parse(text.encode("utf-8", "surrogatepass"), True)
            return builder.close()
        except expat.ExpatError as error:
            raise self.folder.wrong(f"expected XML in {str(self.path)!r}, got something else: {error}.") from error
