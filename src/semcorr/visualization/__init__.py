"""Figures of matches, heat maps and flows."""
