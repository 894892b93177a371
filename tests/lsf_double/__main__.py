"""Entry point of all commands: `python -I -S __main__.py bsub ...`, with the folder in LSF_DOUBLE."""

import os
import sys
import time
from contextlib import nullcontext, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

# run by path, isolated and without site-packages: that starts in a third of the time
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lsf_double.faults import take_fault, take_loss
from lsf_double.store import LsfError, Store

COMMANDS = {
    "bsub": "bsub:main",
    "bjobs": "bjobs:main",
    "bkill": "bkill:main",
    "blaunch": "blaunch:main",
    "bmod": "bmod:main",
    "bhosts": "hosts:bhosts",
    "bqueues": "hosts:bqueues",
    "jsrun": "jsrun:main",
    "badmin": "admin:badmin",
    "lsclusters": "admin:lsclusters",
    "bhist": "admin:bhist",
}


def main(command: str, words: list[str]) -> int:
    """Run a command, unless it was told to fail."""
    store = Store(Path(os.environ["LSF_DOUBLE"]))
    if command == "_supervise":
        return import_module("lsf_double.supervisor").supervise(store, int(words[0]), int(words[1]))
    if command == "_dispatch":
        return import_module("lsf_double.scheduler").dispatch(store) or 0
    store.record_call(command, words)
    if failure := take_fault(store, command):
        print(failure.message, file=sys.stderr)
        return failure.code
    module, _, function = COMMANDS[command].partition(":")
    lost = take_loss(store, command)
    try:
        with redirect_stdout(StringIO()) if lost else nullcontext():
            code = getattr(import_module(f"lsf_double.{module}"), function)(store, words)
    except LsfError as error:
        print(error, file=sys.stderr)
        return 255
    if lost:
        time.sleep(lost.lose_after_sec)
        print(lost.lost_message, file=sys.stderr)
        return lost.code
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
