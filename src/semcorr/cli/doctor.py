"""``semcorr doctor``: what this machine and this installation offer."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import Json

if TYPE_CHECKING:
    from semcorr.matchers.family_support import FamilySupport


def doctor(*, families: Annotated[bool, Parameter(negative="")] = False, json: Json = False) -> int:
    """Show which devices, precisions, models and extras are available here. Downloads nothing.

    Args:
        families: Show the families of diffusion networks instead: what is supported, read by default and tested.
        json: Print one JSON document instead of a table.
    """
    if families:
        return _families(json)
    from semcorr.cli.environment import examine

    findings = examine()
    if json:
        console.show_json({"findings": [finding.to_dict() for finding in findings]})
        return 0
    table = Table()
    for heading in ("", "what", "usable", "detail"):
        table.add_column(heading, overflow="fold")
    previous = ""
    for finding in findings:
        if previous and finding.topic != previous:
            table.add_section()
        topic = "" if finding.topic == previous else finding.topic
        table.add_row(topic, finding.name, "yes" if finding.usable else "no", finding.detail)
        previous = finding.topic
    console.show(table)
    return 0


def _families(json: bool) -> int:
    from semcorr.matchers.family_support import family_support

    known = family_support()
    if json:
        console.show_json({"families": [asdict(family) for family in known]})
        return 0
    console.show(family_table(known))
    console.show(source_table(known))
    never = ", ".join(family.name for family in known if not family.trained)
    console.say(f"Never run here with trained weights: {never}. Their default layers and blocks are untried here.")
    return 0


def family_table(families: "Sequence[FamilySupport]") -> Table:
    """Return what is known of families, a row each."""
    table = Table()
    for heading in ("family", "class", "supported", "fast starts", "layers", "DIFT's block", "tested on"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "DIFT's block" else "left")
    table.add_column("trained weights")
    for family in families:
        table.add_row(
            family.name,
            family.network,
            ", ".join(family.supported),
            "in closed form" if family.start == "least_squares" else "at random",
            ", ".join(family.layers),
            str(family.block),
            family.tested,
            "run" if family.trained else "never run",
        )
    return table


def source_table(families: "Sequence[FamilySupport]") -> Table:
    """Return where the numbers of families come from, a row each."""
    table = Table()
    table.add_column("family")
    table.add_column("its networks")
    table.add_column("where its numbers come from", overflow="fold")
    for family in families:
        table.add_row(family.name, family.title, family.sources)
    return table
