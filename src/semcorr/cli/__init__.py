"""The command ``semcorr``: parse, call the library, print. The only package that prints."""

from semcorr.cli.main import app, main

__all__ = ["app", "main"]
