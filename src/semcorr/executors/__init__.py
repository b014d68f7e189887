"""Where work units run: in this process, or in several. What runs on them says nothing about where."""

from semcorr.executors.base import Job, StoppedError, stoppable
from semcorr.executors.processes import in_processes

__all__ = ["Job", "StoppedError", "in_processes", "stoppable"]
