"""Records and runs that tests write by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.evaluation.runs.records import PairRecord, Run


def pair_record(index: int = 0, truth: Any = (), offsets: Any = (0.0, 0.0), /, **changes: Any) -> PairRecord:
    """A pair of cats whose true points are ``truth`` in both images; predictions are ``offsets`` (x, y) away.

    ``offsets`` None stands for a pair that failed. Images are 100 x 100 and have no boxes; ``changes`` are fields.
    """
    points = np.array(truth, dtype=np.float64).reshape(-1, 2)
    predicted = np.zeros((0, 2)) if offsets is None else points + np.array(offsets, dtype=np.float64).reshape(-1, 2)
    fields: dict[str, Any] = {
        "index": index,
        "pair": f"pair-{index}",
        "category": "cat",
        "names": tuple("abcdefg"[: len(points)]),
        "source": "a.png",
        "target": "b.png",
        "source_size": (100, 100),
        "target_size": (100, 100),
        "source_box": None,
        "target_box": None,
        "source_points": points,
        "truth": points,
        "predicted": predicted,
        "confidence": np.zeros(len(predicted)),
        "error": "broken" if offsets is None else "",
    }
    return PairRecord(**(fields | changes))


def run_of(
    name: str,
    records: list[PairRecord],
    *,
    expected: int | None = None,
    dataset: Mapping[str, Any] | None = None,
    method: Mapping[str, Any] | None = None,
) -> Run:
    """A run of the paper's method on the toy world; ``dataset`` and ``method`` say what else is in its settings."""
    own = {"name": "toy", "split": "test", "setting": "", "threshold": "target-box", "root": f"somewhere/{name}"}
    return Run(
        name=name,
        folder=Path(name),
        settings={"dataset": own | dict(dataset or {}), "method": {"name": "prompt"} | dict(method or {})},
        records=records,
        expected=len(records) if expected is None else expected,
    )
