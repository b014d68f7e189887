"""How long a test waits for what others do."""

DEADLINE = 120.0
"""Seconds. Generous: it ends a test that hangs, and judges no machine by its speed."""

RUN = 900.0
"""Seconds, for whole runs of a command, several of them in some tests."""
