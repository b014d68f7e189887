"""Runs over a benchmark: units of work, their records and their folder."""
