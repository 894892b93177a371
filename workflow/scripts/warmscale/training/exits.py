"""How the process of a rank ends. Standard library only."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn


def exit_as(program: Callable[[], int | None]) -> NoReturn:
    """End this process with the exit code of a program, without the interpreter's finalization.

    That one meets threads of libraries that are still in C++ when a training has failed, and C++ may abort then: the
    rank would look killed, by its node.
    """
    os._exit(exit_code_of(program))


def exit_code_of(program: Callable[[], int | None]) -> int:
    """What the interpreter would end with after this program; what was printed is flushed."""
    try:
        code = program()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    gc.collect()  # what closes files or ends lines when it goes
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return code or 0
