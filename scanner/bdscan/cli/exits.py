"""Exit codes, and the one place where an error becomes a line and a code.

0 clean; 1 a verdict at or above --fail-on; 2 a file, option or samples that cannot be used; 3 a model that cannot be
judged; 130 interrupted. Python's own code for a crash is 1, which would read as "backdoor found": nothing gets past
`guarded`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import typer

from bdscan.errors import CannotJudge, UsageError

if TYPE_CHECKING:
    from bdscan.report import Verdict

CLEAN, FOUND, UNUSABLE, NOT_JUDGED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143


class FailOn(StrEnum):
    suspicious = "suspicious"
    backdoor = "backdoor"


def exit_code(verdict: Verdict, fail_on: FailOn, looked: bool = True) -> int:
    """A verdict's exit code; `inconclusive` is 3 whatever --fail-on says, because nothing was judged.

    So is an alarm below --fail-on where not every stage ran that a clean verdict needs (`looked` is false): without the
    alarm the code would be 3, and a model must not pass because something was found besides.
    """
    if verdict == "inconclusive":
        return NOT_JUDGED
    alarms = {"backdoor"} if fail_on is FailOn.backdoor else {"backdoor", "suspicious"}
    if verdict in alarms:
        return FOUND
    return CLEAN if looked else NOT_JUDGED


@contextmanager
def guarded(debug: bool = False) -> Iterator[None]:
    """Turn every way a command can fail into one line on stderr and its exit code."""
    previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except (UsageError, CannotJudge) as error:
        _leave(str(error), error.exit_code, getattr(error, "trace", "") if debug else "")
    except BrokenPipeError:
        # The reader of stdout has gone; what is still buffered must not raise again when python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave("the output was closed before it was complete", UNUSABLE)
    except OSError as error:
        _leave(f"{error.filename or 'input or output'}: {error.strerror or error}", UNUSABLE)
    except Exception as error:
        import traceback

        trace = traceback.format_exc() if debug else ""
        hint = "" if debug else "; --debug shows where"
        _leave(f"unexpected {type(error).__name__}: {error}{hint}", NOT_JUDGED, trace)
    finally:
        signal.signal(signal.SIGTERM, previous)


def note(text: str) -> None:
    """One inert line on stderr."""
    from bdscan.formats.text import visible

    print(f"bdscan: {visible(' '.join(text.split()))}", file=sys.stderr)


def _leave(message: str, code: int, trace: str = "") -> NoReturn:
    if trace:
        from bdscan.formats.text import visible

        print("\n".join(visible(line) for line in trace.splitlines()), file=sys.stderr)
    note(message)
    raise typer.Exit(code)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C, so that the worker and the temporary files go too."""
    raise SystemExit(TERMINATED)
