import hashlib

import torch

from semcorr.matchers.seeds import seeded_generator


def test_a_key_gives_the_same_draws_each_time_and_another_key_others():
    first, again, other = (seeded_generator(key) for key in ("dift|0|abc", b"dift|0|abc", "dift|1|abc"))
    draws = [torch.randn(4, generator=generator) for generator in (first, again, other)]
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])


def test_the_seed_is_63_bits_of_the_keys_hash():
    expected = int.from_bytes(hashlib.sha256(b"words|0|abc").digest()[:8], "little") // 2
    assert seeded_generator("words|0|abc").initial_seed() == expected
