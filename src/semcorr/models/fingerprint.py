"""Identify a checkpoint without reading gigabytes."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

# A tensor of up to 64 KiB is hashed whole, of a larger one 16 evenly spaced pieces: checkpoints that were trained
# differently differ in nearly every value of the tensors in which they differ at all.
_PIECE = 4096
_PIECES = 16


def fingerprint(configs: Iterable[Mapping[str, Any]], files: Iterable[Path], prefixes: tuple[str, ...] = ("",)) -> str:
    """Return a sha256 over configurations and over the weights in safetensors files.

    Only tensors whose names begin with one of ``prefixes`` count. Names, types and shapes are hashed in
    full, long tensors in pieces; the distribution of the tensors over files does not matter.
    """
    digest = sha256()
    for config in configs:
        stable = {key: value for key, value in config.items() if not key.startswith("_")}
        digest.update(json.dumps(stable, sort_keys=True).encode())
    tensors: dict[str, bytes] = {}
    for file in files:
        tensors.update(_tensor_digests(file, prefixes))
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name])
    return digest.hexdigest()


def _tensor_digests(file: Path, prefixes: tuple[str, ...]) -> dict[str, bytes]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return {
            name: _tensor_digest(stream, 8 + length, entry)
            for name, entry in header.items()
            if name.startswith(prefixes)
        }


def _tensor_digest(stream: BinaryIO, data_start: int, entry: Mapping[str, Any]) -> bytes:
    digest = sha256(json.dumps([entry["dtype"], entry["shape"]]).encode())
    begin, end = entry["data_offsets"]
    if end - begin <= _PIECE * _PIECES:
        starts, size = [begin], end - begin
    else:
        starts = [begin + (end - begin - _PIECE) * piece // (_PIECES - 1) for piece in range(_PIECES)]
        size = _PIECE
    for start in starts:
        stream.seek(data_start + start)
        digest.update(stream.read(size))
    return digest.digest()
