"""Where work units run: in this process, in several, or on a Ray cluster. What is run says nothing about where."""

from semcorr.executors.base import Job, in_this_process
from semcorr.executors.spread import spread

__all__ = ["Job", "in_this_process", "spread"]
