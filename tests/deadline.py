"""How long a test waits for what others do."""

DEADLINE = 120.0
"""Seconds. Generous: it ends a test that hangs, and judges no machine by its speed."""
