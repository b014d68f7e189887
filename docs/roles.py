"""What the reference needs beside the docstrings: their ``:func:`name``` becomes a link where the name has a page."""

import re

import griffe

_ROLE = re.compile(r":(?:attr|class|func|meth|mod):`(~?)([\w.]+)`")


class Roles(griffe.Extension):
    """Turns Sphinx's roles, which editors and Python's own help know, into references of mkdocs-autorefs."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite one docstring."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(lambda match: _link(match, obj), obj.docstring.value)


def _link(match: re.Match[str], obj: griffe.Object) -> str:
    short, name = match.groups()
    shown = name.rpartition(".")[2] if short else name
    try:
        target = name if name.startswith("semcorr") else obj.resolve(name)
    except griffe.NameResolutionError:
        target = name
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'
