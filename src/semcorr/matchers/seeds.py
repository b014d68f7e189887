"""Random generators whose seed follows from a text: the same text gives the same numbers everywhere."""

import hashlib

import torch


def seeded_generator(key: str | bytes) -> torch.Generator:
    """Return a generator on the CPU, seeded with the SHA-256 of ``key``.

    Draws are made on the CPU, so that the device a model runs on does not change them. A key names what a draw depends
    on, such as the method, the seed and the image's content; to change the text of a key is to change results.
    """
    digest = hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()
    # 63 bits: torch takes a signed 64-bit seed.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
