"""Drawings: matches, heat maps, flow."""
