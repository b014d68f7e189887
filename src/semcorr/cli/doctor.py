"""``semcorr doctor``: what this machine and this installation offer."""

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import Json


def doctor(*, json: Json = False) -> int:
    """Show which devices, precisions, models and extras are available here. Downloads nothing.

    Args:
        json: Print one JSON document instead of a table.
    """
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
