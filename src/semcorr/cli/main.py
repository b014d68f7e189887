"""The root command: its sub-commands, and how errors and Ctrl-C end it.

Exit status: 0 all done; 1 some items failed and were reported; 2 nothing could be done
(bad input, unknown name, no model); 130 stopped by Ctrl-C.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from cyclopts import App, CycloptsError

from semcorr.cli import console
from semcorr.cli.app import app_page
from semcorr.cli.calibrate import calibrate
from semcorr.cli.check import check
from semcorr.cli.collect import collect
from semcorr.cli.convert import convert
from semcorr.cli.data import data_app
from semcorr.cli.demo import demo
from semcorr.cli.dense import dense
from semcorr.cli.describe import describe
from semcorr.cli.discover import discover
from semcorr.cli.doctor import doctor
from semcorr.cli.evaluate import ablate, evaluate, merge
from semcorr.cli.label_studio import label_studio
from semcorr.cli.layers import layers
from semcorr.cli.locate import locate
from semcorr.cli.match import match
from semcorr.cli.mutual import mutual
from semcorr.cli.plan import plan
from semcorr.cli.report import report
from semcorr.cli.review import review
from semcorr.cli.score import score
from semcorr.cli.segment import segment
from semcorr.cli.toy import toy_app
from semcorr.cli.transfer import transfer
from semcorr.cli.words import words
from semcorr.errors import SemcorrError

app = App(
    name="semcorr",
    help="Point at something in one image; find it in others, with a frozen text-to-image diffusion model.",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    console=console.ResultConsole(),
)
app.command(match, usage="Usage: semcorr match SOURCE TARGET... -p X Y [-p X Y ...] [OPTIONS]")
app.command(describe, usage="Usage: semcorr describe IMAGE -p X Y [-p X Y ...] -o QUERY.safetensors [OPTIONS]")
app.command(locate, usage="Usage: semcorr locate QUERY.safetensors TARGET... [OPTIONS]")
app.command(mutual, usage="Usage: semcorr mutual SOURCE TARGET... [OPTIONS]")
app.command(dense, usage="Usage: semcorr dense SOURCE TARGET... [OPTIONS]")
app.command(collect, usage="Usage: semcorr collect IMAGE IMAGE IMAGE... -o FOLDER [OPTIONS]")
app.command(words, usage='Usage: semcorr words IMAGE "PROMPT" [OPTIONS]')
app.command(segment, usage="Usage: semcorr segment SOURCE MASK TARGET... [-e IMAGE MASK ...] [-o DIR] [OPTIONS]")
app.command(transfer, usage="Usage: semcorr transfer ANNOTATIONS [TARGET...] --images DIR -o OUT.json [OPTIONS]")
app.command(discover, usage="Usage: semcorr discover IMAGES... [-n COUNT] -o OUT.json [--review OUT.html] [OPTIONS]")
app.command(review, usage="Usage: semcorr review PREDICTED [--images DIR] [-o CORRECTED] [OPTIONS]")
app.command(convert, usage="Usage: semcorr convert SOURCE TARGET [--format FORMAT] [--images DIR] [OPTIONS]")
app.command(check, usage="Usage: semcorr check ANNOTATIONS [--images DIR] [--match] [--json OUT] [OPTIONS]")
app.command(
    label_studio, usage="Usage: semcorr label-studio [ANNOTATIONS] [--images DIR] [--label-studio URL] [OPTIONS]"
)
app.command(app_page, name="app")
app.command(demo)
app.command(doctor)
app.command(layers, usage="Usage: semcorr layers MODEL [--json] [OPTIONS]")
app.command(toy_app)
app.command(data_app)
app.command(evaluate, name="eval")
app.command(ablate)
app.command(plan, usage="Usage: semcorr plan (DATASET | --targets N) [--gpus N] [--gpu-rate TFLOP/s] [OPTIONS]")
app.command(calibrate)
app.command(merge)
app.command(report)
app.command(score)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""Errors of the system for a name that it cannot have, or a location that is not ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (without the program's name; the process's own by default).

    Returns:
        The exit status, see the top of this file.
    """
    return run(app, argv, see="See: semcorr --help")


def run(app: App, argv: Sequence[str] | None, *, see: str) -> int:
    """Run an application; ``see`` ends the message about a misspelt option.

    Returns:
        The exit status, see the top of this file.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    console.quiet_libraries()
    try:
        with _interrupts():
            status = app(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        console.plain_error("Stopped." + "".join(f" {note}" for note in interrupt.args))
        return 130
    except CycloptsError as error:
        console.plain_error(f"{error} {see}")
        return 2
    except SemcorrError as error:
        console.plain_error(str(error))
        return 2
    except (MemoryError, RuntimeError) as error:
        from semcorr.models.memory import out_of_memory_message  # late: PyTorch takes seconds

        message = out_of_memory_message(error)
        if message is None:
            raise
        console.plain_error(message)
        return 2
    except BrokenPipeError:
        # The reader of our output went away (as `head` does). Keep Python from flushing into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None and error.errno in _REFUSED:
            console.plain_error(f"{str(error.filename)!r}: {error.strerror}. Name another file or folder.")
            return 2
        if error.errno not in _NO_ROOM:
            raise
        where = f" ({error.filename})" if error.filename else ""
        console.plain_error(f"There is no room to write{where}: {error.strerror}. What is finished is kept. Make room.")
        return 2
    return status if isinstance(status, int) else 0


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """Let Ctrl-C end the work in order, which may take until workers finish a pair; a second Ctrl-C ends it at once.

    Worker processes end with this one.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # Another handler is installed, or no signal can arrive here.
        return

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, second)
        signal.default_int_handler(number, frame)

    def second(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""  # which a progress bar may have hidden
        os.write(2, cursor + b"Stopped at once.\n")
        os._exit(130)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
