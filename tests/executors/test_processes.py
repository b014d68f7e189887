"""Several processes of this machine: every unit once, threads divided, errors raised. See also tests/evaluation."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from executors.jobs import Deadly, Squares, Unloadable
from semcorr.errors import RunError
from semcorr.executors import run_units

pytestmark = pytest.mark.slow


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_every_unit_once_and_threads_divided(tmp_path: Path) -> None:
    squares = list(run_units(Squares(tmp_path, 0.2), range(20), workers=2))
    assert sorted(squares) == sorted([n**2 for n in range(20)] + [-(n**2) for n in range(20)])
    started = [path.read_text().split()[1] for path in tmp_path.glob("started-*")]
    assert started in (["2"], ["2", "2"])


def test_errors_come_back_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^-5 is bad\.$"):
        list(run_units(Squares(tmp_path), [1, 2, -5], workers=2))
    with pytest.raises(RunError, match=r"^There is no such model\.$"):
        list(run_units(Unloadable(), [1], workers=2))
    with pytest.raises(RunError, match=r"^A worker process was killed"):
        list(run_units(Deadly(), [3], workers=2))
