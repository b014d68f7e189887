"""What one optimizer with several kinds of targets is worth, part by part.

``python -m benchmarks.engine`` runs all parts with their defaults, ``python -m benchmarks.engine examples`` one.
"""

import sys
from collections.abc import Callable

from benchmarks.command import main, new_app
from benchmarks.engine import collections, discovery, examples, regions

PARTS: dict[str, Callable[..., int]] = {
    "examples": examples.measure,
    "regions": regions.regions,
    "discovery": discovery.measure,
    "collections": collections.measure,
}
"""The parts by name: functions whose arguments are their options."""

app = new_app("engine", "Measure what one optimizer with several kinds of targets is worth.")
for name, part in PARTS.items():
    app.command(part, name=name)


@app.default
def every_part() -> int:
    """Run all parts with their defaults."""
    for part in PARTS.values():
        part()
    return 0


if __name__ == "__main__":
    sys.exit(main(app))
