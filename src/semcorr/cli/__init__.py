"""The command ``semcorr``: parse, call the library, print. The only room that prints."""

from semcorr.cli.main import app, main

__all__ = ["app", "main"]
