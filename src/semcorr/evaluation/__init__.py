"""Evaluation of methods: metrics, runs over benchmarks, reports and baselines."""
