"""Mutations of files: of their bytes, and of what their format means. All draws come from the generator given."""

import copy
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

Mutation = Callable[[Random, bytes], bytes]

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)
_TEXTS = (
    *("", " ", "\0", "a\0b.png", "../../../../etc/passwd", "/etc/passwd", "..", ".", "C:\\x", "a/../../b", "\\\\x\\y"),
    *("nan", "inf", "-inf", "1e999", "-1", "0", "1_0", "٣", "0x10", "9" * 400, "9" * 5000, "x" * 300, "y" * 140_000),
    *("\ud800", "\u202e", "é", "\r\n", "\x1c", '"', ",", ";;", "#", "[" * 2000, "http://[::1", "a:b:c", "None", "{}"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 17, 0.5, -0.0, 1e-320, 1e308, -1e308, 2**31, 2**63, 2**64, -(2**63), 10**12),
    *(
        10**400,
        float("nan"),
        float("inf"),
        float("-inf"),
        [],
        {},
        [[]],
        [None],
        [[], [[]]],
        {"": None},
        [1, 2, 3],
        "id",
    ),
)
_TOKENS = (
    b"\0",
    b"NaN",
    b"Infinity",
    b"-",
    b"1e999",
    b"[",
    b"{",
    b'"',
    b"\\ud800",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
)


def bytes_of(random: Random, data: bytes) -> bytes:
    """Change a few bytes, or cut, repeat, insert and overwrite pieces."""
    changed_data = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 8, 32))):
        at = random.randrange(len(changed_data) + 1)
        # Heads are where formats keep what can lie.
        at = random.randrange(min(64, len(changed_data)) + 1) if random.random() < 0.3 else at
        length = random.choice((1, 1, 2, 4, 8, 64, 1000))
        kind = random.randrange(8)
        if kind == 0 and at < len(changed_data):
            changed_data[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(changed_data):
            changed_data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        elif kind == 2:
            del changed_data[at : at + length]
        elif kind == 3:
            changed_data[at:at] = changed_data[at : at + length]
        elif kind == 4:
            changed_data[at:at] = random.randbytes(length)
        elif kind == 5:
            del changed_data[at:]
        elif kind == 6:
            number = random.choice(_NUMBERS)
            order = random.choice(("<", ">"))
            packed = struct.pack(f"{order}Q", number) if random.random() < 0.3 else b""
            packed = packed or struct.pack(f"{order}{random.choice('HI')}", number & 0xFFFF)
            changed_data[at : at + len(packed)] = packed
        else:
            changed_data[at:at] = random.choice(_TOKENS)
    return bytes(changed_data)


def text(random: Random) -> str:
    """A text that readers may stumble over."""
    return random.choice(_TEXTS)


def value(random: Random) -> Any:
    """A JSON value that readers may stumble over."""
    # A copy: what is put into a document may be changed there, and would be another for the next.
    return text(random) if random.random() < 0.4 else copy.deepcopy(random.choice(_VALUES))


def changed(random: Random, document: Any) -> Any:
    """A JSON document with something replaced, left out, repeated or put elsewhere. The document itself may change."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        positions = _positions(document)
        if not positions or random.random() < 0.01:
            return value(random)
        holder, key = random.choice(positions)
        kind = random.randrange(8)
        if kind < 4:
            holder[key] = value(random)
        elif kind == 4:
            del holder[key]
        elif kind == 5:
            other, name = random.choice(positions)
            if _has(other, name) and _has(holder, key):
                holder[key] = json.loads(json.dumps(other[name]))
        elif kind == 6 and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        elif kind == 7 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = random.choice((-holder[key], holder[key] * 10**9, str(holder[key]), [holder[key]]))
        else:
            holder[key] = {"nested": holder[key]}
    return document


def json_of(random: Random, data: bytes) -> bytes:
    """Change a JSON file by its structure, mostly; sometimes its bytes."""
    if random.random() < 0.2:
        return bytes_of(random, data)
    if random.random() < 0.01:
        return b"[" * 100_000 if random.random() < 0.5 else b'{"a":' * 50_000
    dumped = json.dumps(changed(random, json.loads(data)), ensure_ascii=random.random() < 0.8)
    if random.random() < 0.02:
        dumped = dumped.replace("0", "9" * 5000, 1)
    return dumped.encode("utf-8", "surrogatepass")


def xml_of(random: Random, data: bytes) -> bytes:
    """Change attributes, texts and elements of XML, or its bytes."""
    if random.random() < 0.3:
        return bytes_of(random, data)
    root = ET.fromstring(data)  # noqa: S314  # our own
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        every = list(root.iter())
        one, other = random.choice(every), random.choice(every)
        kind = random.randrange(8)
        if kind < 4 and one.attrib:
            one.set(random.choice(list(one.attrib)), text(random) if kind < 3 else random.choice(list("0123")))
        elif kind == 4 and one.attrib:
            del one.attrib[random.choice(list(one.attrib))]
        elif kind == 5:
            one.append(copy.deepcopy(other))
        elif kind == 6 and len(one):
            one.remove(random.choice(list(one)))
        else:
            one.text = text(random)
    return ET.tostring(root, encoding="utf-8")


def lines_of(random: Random, data: bytes) -> bytes:
    """Change a JSON Lines file: one line by its structure, or the file's bytes."""
    lines = data.splitlines()
    number = random.randrange(len(lines))
    lines[number] = json_of(random, lines[number])
    return b"\n".join(lines) + random.choice((b"\n", b""))


def table_of(random: Random, data: bytes) -> bytes:
    """Change cells and lines of a table of text, or its bytes."""
    if random.random() < 0.3:
        return bytes_of(random, data)
    separator = "," if b"," in data else " "
    lines = [line.split(separator) for line in data.decode().splitlines()]
    for _ in range(random.choice((1, 1, 2, 3))):
        row = random.choice(lines)
        at = random.randrange(len(row)) if row else 0
        kind = random.randrange(6)
        if kind < 3 and row:
            row[at] = text(random)
        elif kind == 3 and row:
            del row[at]
        elif kind == 4:
            row.insert(at, text(random))
        else:
            lines.insert(random.randrange(len(lines)), list(random.choice(lines)))
    return "\n".join(separator.join(row) for row in lines).encode("utf-8", "surrogatepass")


def safetensors_of(random: Random, data: bytes) -> bytes:
    """Let a safetensors header lie: its length, offsets, types, shapes and what its metadata say."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = random.randrange(10)
    if kind == 0:
        return bytes_of(random, data)
    if kind == 1:
        return random.choice((*_NUMBERS, length + 1, length - 1, 2**64 - 1)).to_bytes(8, "little") + data[8:]
    if kind < 6:
        header = _lying(random, header)
    elif kind == 6:
        header = changed(random, header)
    elif "semcorr" in header.get("__metadata__", {}):
        header["__metadata__"]["semcorr"] = json_of(random, header["__metadata__"]["semcorr"].encode()).decode(
            "utf-8", "replace"
        )
    else:
        body = bytes_of(random, body)
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + body


def png_of(random: Random, data: bytes) -> bytes:
    """Change a PNG's chunks and make their check sums right again, or its bytes."""
    if not data.startswith(b"\x89PNG") or random.random() < 0.4:
        return bytes_of(random, data)
    chunks, at = [], 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    number = random.randrange(len(chunks))
    kind, body = chunks[number]
    chunks[number] = (random.choice((kind, kind, kind, b"iCCP", b"zTXt", b"eXIf", b"tRNS")), bytes_of(random, body))
    if random.random() < 0.2:
        chunks.insert(random.randrange(len(chunks)), random.choice(chunks))
    return data[:8] + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )


def zip_of(random: Random, data: bytes) -> bytes:
    """Change what a zip archive holds and make its check sums right again, or its bytes, or its members' names."""
    if random.random() < 0.4:
        return bytes_of(random, data)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as changed_one:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        chosen = random.randrange(len(members))
        for number, (name, content) in enumerate(members):
            info = zipfile.ZipInfo(name)
            if number == chosen:
                content = bytes_of(random, content)
                if random.random() < 0.3:
                    info.filename = info.orig_filename = _name(random, name)
                    info.external_attr = random.choice((0, 0o120777 << 16, 0o020666 << 16, 0o100644 << 16))
                if random.random() < 0.1:
                    continue
            changed_one.writestr(info, content)
    return out.getvalue()


def tar_of(random: Random, data: bytes) -> bytes:
    """A tar archive with links, devices, names that lead elsewhere and sizes that are not; or changed bytes."""
    if random.random() < 0.4:
        return bytes_of(random, data)
    out = io.BytesIO()
    compression = random.choice(("", "gz"))
    with tarfile.open(fileobj=out, mode=f"w:{compression}", format=random.choice((0, 1, 2))) as archive:  # type: ignore[call-overload]
        for number in range(random.randrange(1, 4)):
            info = tarfile.TarInfo(_name(random, f"folder/{number}.txt"))
            info.type = random.choice((tarfile.REGTYPE,) * 4 + (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"z"))
            info.linkname = _name(random, "folder/0.txt")
            info.size = random.choice((3, 3, 3, 0, 10**6, 2**33 - 1))
            try:
                archive.addfile(info)
            except ValueError:  # the format has no room for such a name or number
                continue
            archive.fileobj.write(b"abc".ljust(512, b"\0"))
    return out.getvalue()


def any_of(*mutations: Mutation) -> Mutation:
    """One of several mutations, drawn anew for each file."""
    return lambda random, data: random.choice(mutations)(random, data)


def _name(random: Random, name: str) -> str:
    made = text(random)
    if "\ud800" in made or len(made) > 5000 or random.random() < 0.4:
        return name
    return random.choice((made, f"folder/{made}", f"{made}/{name}")) or name


def _lying(random: Random, header: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return header
    name = random.choice(names)
    entry = header[name]
    kind = random.randrange(6)
    if kind == 0:
        entry["data_offsets"] = [random.choice(_NUMBERS), random.choice(_NUMBERS)]
    elif kind == 1:
        entry["data_offsets"] = header[random.choice(names)]["data_offsets"]
    elif kind == 2:
        entry["dtype"] = random.choice(("BF16", "F16", "F32", "F64", "I8", "U64", "BOOL", "F8_E4M3", "C64", "O", "F4"))
    elif kind == 3:
        entry["shape"] = _other_shape(random, entry["shape"])
    elif kind == 4:
        del header[name]
    else:
        header[f"{name}x"] = header.pop(name)
    return header


def _other_shape(random: Random, shape: Sequence[int]) -> list[Any]:
    """The same number of values in another shape, or anything."""
    total = 1
    for side in shape:
        total *= side
    return random.choice(
        ([total], [1, total], [total, 1], [], [0], list(shape)[::-1], [2**32, 2**32], [-1], [total + 1])
    )


def _positions(document: Any) -> list[tuple[Any, Any]]:
    """Every (list or object, index or key) in a document."""
    positions: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        positions += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return positions


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)
