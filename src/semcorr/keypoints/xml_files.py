"""XML of strangers: no entities, nothing from elsewhere, and the line of every element for messages."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET
from xml.parsers import expat

from semcorr.errors import DatasetError
from semcorr.keypoints.file_reader import DataFile

_MOST_BYTES = 2**30
_DEEPEST = 100


class XmlFile:
    """A parsed file.

    Args:
        file: The file.
        text: Its content where that is not in a file: then ``file`` is what messages call it.

    Raises:
        DatasetError: It is missing, not XML, has a DOCTYPE, or is too large or nested too deeply.
    """

    def __init__(self, file: DataFile, text: str | None = None) -> None:
        self.file = file
        self._lines: dict[ET.Element, int] = {}
        text = file.text() if text is None else text
        if len(text) > _MOST_BYTES:
            raise file.folder.error(f"expected at most 1 GiB of XML in {str(file.path)!r}, got {len(text)} bytes.")
        self.root = self._parsed(text)

    def error(self, element: ET.Element, expected: str, got: str, *, advice: str = "") -> DatasetError:
        """The error that names the line of an element."""
        return self.file.error(expected, got, at=f"line {self._lines[element]}", advice=advice)

    def attribute(self, element: ET.Element, name: str) -> str:
        """An attribute that must be there.

        Raises:
            DatasetError: It is missing.
        """
        value = element.get(name)
        if value is None:
            raise self.error(element, f"an attribute {name!r} of <{element.tag}>", "none")
        return value

    def numbers(self, element: ET.Element, values: list[str], count: int, what: str) -> tuple[float, ...]:
        """``count`` finite numbers of an element.

        Raises:
            DatasetError: There are more or fewer, or one is not a number.
        """
        return self.file.numbers(values, count, f"{what} in line {self._lines[element]}")

    def _parsed(self, text: str) -> ET.Element:
        builder, depth = ET.TreeBuilder(), 0
        parser = expat.ParserCreate("utf-8")

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > _DEEPEST:
                raise self.file.error(f"elements up to {_DEEPEST} deep", "more")
            self._lines[builder.start(tag, dict(attributes))] = parser.CurrentLineNumber

        def end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            builder.end(tag)

        def doctype(*_: object) -> None:
            line = parser.CurrentLineNumber
            raise self.file.error("no DOCTYPE", f"one in line {line}: its entities are not read", advice="Remove it.")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, doctype
        try:
            # The text is decoded already, whatever encoding its first line says.
            parser.Parse(text.encode("utf-8", "surrogatepass"), True)
            return builder.close()
        except expat.ExpatError as error:
            raise self.file.error("XML", f"something else: {error}") from error
