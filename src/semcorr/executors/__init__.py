"""Where work units run: in this process, in several, or on a Ray cluster. What is run says nothing about where."""

from semcorr.executors.base import Job, StoppedError, stoppable
from semcorr.executors.elsewhere import elsewhere

__all__ = ["Job", "StoppedError", "elsewhere", "stoppable"]
