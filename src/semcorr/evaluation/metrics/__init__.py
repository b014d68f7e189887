"""Measures of correspondence and of confidence."""
