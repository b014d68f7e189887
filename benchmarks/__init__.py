"""Measures speed, work, memory and accuracy on the machine at hand; run from the repository's root, not installed."""
