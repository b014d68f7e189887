"""Queries, which describe points of one image, and matches: the same points in another."""

from semcorr.matchers.results.matches import Diagnostics, LocatedTogether, Matches
from semcorr.matchers.results.query import Example, Query

__all__ = ["Diagnostics", "Example", "LocatedTogether", "Matches", "Query"]
