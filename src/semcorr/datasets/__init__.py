"""Benchmarks of semantic correspondence, one file each, all read into the same pairs."""
