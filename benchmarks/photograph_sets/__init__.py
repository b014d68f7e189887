"""What :mod:`benchmarks.photographs` measures: its configurations, its sets of photographs, and its tables."""
