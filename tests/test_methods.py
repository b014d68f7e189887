import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import semcorr
from semcorr.errors import SettingsError


def test_both_halves_in_one_call_are_what_they_are_apart(tiny_sd: Path):
    rng = np.random.default_rng(0)
    source, target = (rng.integers(0, 255, (20, 30, 3), dtype=np.uint8) for _ in range(2))
    small = {"resolution": 64, "steps": 2, "rounds": 1, "locate_crops": 4, "device": "cpu"}
    seen: list[str] = []

    def progress(stage: str, done: int, total: int, **info: object) -> None:
        seen.append(stage)

    once = semcorr.match(source, target, [(3, 4)], model=tiny_sd, names=["tip"], progress=progress, **small)
    matcher = semcorr.load_matcher("prompt", tiny_sd, "paper", **small)
    again = matcher.locate(matcher.describe(source, [(3, 4)]), target)
    assert np.array_equal(once.points, again.points)
    assert np.array_equal(once.heatmaps, again.heatmaps)
    assert once.names == ("tip",)
    assert list(dict.fromkeys(seen)) == ["learn", "locate"]


def test_an_unknown_method_names_those_there_are():
    with pytest.raises(SettingsError, match=r"Unknown method 'promt'. Did you mean 'prompt'\? Methods are: prompt"):
        semcorr.load_matcher("promt")


@pytest.mark.parametrize("name", semcorr.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(semcorr, name).__module__.startswith("semcorr.")
    assert name in dir(semcorr)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'matches'"):
        _ = semcorr.matches
    assert isinstance(semcorr.__version__, str)


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'diffusers', 'numpy', 'PIL', 'pydantic'}"
    program = f"import sys, semcorr; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
