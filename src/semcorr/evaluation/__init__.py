"""Measuring correspondences: metrics, baselines and benchmarks."""
