"""Broken and hostile files for every reader: none may crash it, hang it, fill the memory or leave its folder.

``python -m benchmarks.fuzz [--inputs 100000] [--seed 0] [--reader NAME] [-o runs/fuzz]``

Files are made by the package's own writers and then changed, in their bytes and by what their format means. A reader
may take such a file or refuse it by one of the package's errors. Anything else is a finding: another error, a warning
that a library lets out, an image outside of its folder, more than 5 seconds, more than 256 MB. The inputs of findings
are kept in a folder, and the exit status is 1.
"""

import sys
from pathlib import Path

from rich.table import Table

from benchmarks.command import main, new_app
from benchmarks.fuzzing.feeding import Outcome, distinct, feed, keep
from benchmarks.fuzzing.target import Target
from benchmarks.fuzzing.targets import targets
from semcorr.cli import console
from semcorr.cli.options import Output, Repeated
from semcorr.errors import SettingsError, suggest

app = new_app("fuzz", "Broken and hostile files for every reader.")


@app.default
def fuzz(*, inputs: int = 100_000, seed: int = 0, reader: Repeated = (), output: Output = Path("runs/fuzz")) -> int:
    """Broken and hostile files for every reader.

    Args:
        inputs: How many over all readers.
        seed: Draws them; the same files for the same seed.
        reader: Only this reader; repeat for more.
        output: Folder for the inputs of findings.
    """
    if inputs < 1:
        raise SettingsError(f"--inputs: expected at least 1, got {inputs}.")
    chosen = _chosen(tuple(reader))
    shares = shared(chosen, inputs)
    total, done = sum(shares.values()), 0
    outcomes: dict[str, Outcome] = {}
    with console.TerminalProgress() as progress:
        for target in chosen:
            outcomes[target.name] = feed(
                target,
                shares[target.name],
                seed,
                progress=lambda count, before=done, name=target.name: progress(  # type: ignore[misc]
                    "fuzz", before + count, total, reader=name
                ),
            )
            done += shares[target.name]
    findings = [one for outcome in outcomes.values() for one in distinct(outcome.findings)]
    console.show(table(outcomes))
    for one in findings:
        console.say(f"{one.target}, input {one.number}: {one.what} ({one.where})")
    if findings:
        keep(findings, output)
        console.note(f"Their inputs are in {output}.")
    return 1 if findings else 0


def shared(chosen: list[Target], inputs: int) -> dict[str, int]:
    """How many inputs each reader has: at least one, and ``inputs`` or a few more in all."""
    weight = sum(target.weight for target in chosen)
    return {target.name: max(1, -int(-inputs * target.weight // weight)) for target in chosen}


def table(outcomes: dict[str, Outcome]) -> Table:
    """What came of each reader's inputs."""
    shown = Table()
    headings = ("reader", "inputs", "refused", "accepted", "findings", "slowest, ms", "memory, MB")
    for heading in headings:
        shown.add_column(heading, justify="left" if heading == "reader" else "right")
    for name, one in outcomes.items():
        counts = (one.inputs, one.refused, one.accepted, len(one.findings))
        shown.add_row(name, *(f"{count:,}" for count in counts), f"{1000 * one.slowest:.0f}", f"{one.megabytes:.0f}")
    every = list(outcomes.values())
    sums = [sum(getattr(one, name) for one in every) for name in ("inputs", "refused", "accepted")]
    sums.append(sum(len(one.findings) for one in every))
    slowest, memory = max(one.slowest for one in every), max(one.megabytes for one in every)
    shown.add_row("all", *(f"{count:,}" for count in sums), f"{1000 * slowest:.0f}", f"{memory:.0f}")
    return shown


def _chosen(names: tuple[str, ...]) -> list[Target]:
    known = {target.name: target for target in targets()}
    for name in names:
        if name not in known:
            raise SettingsError(f"Unknown reader {name!r}.{suggest(name, known)} Readers are: {', '.join(known)}.")
    return [known[name] for name in names] or list(known.values())


if __name__ == "__main__":
    sys.exit(main(app))
