"""Where units of work run: in this process, in several, or on a Ray cluster. A job does not depend on where."""

from semcorr.executors.base import Job, in_this_process
from semcorr.executors.run import run_units

__all__ = ["Job", "in_this_process", "run_units"]
