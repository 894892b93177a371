"""Models that write down what their process is, or spoil it."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import plain  # beside this file, on PYTHONPATH
from torch import nn

OF_EACH_START = {"SHLVL", "_", "OLDPWD", "WARMSCALE_LAUNCHER_PID"}


def _state() -> Path:
    return Path(sys.argv[sys.argv.index("--state") + 1])


def facts() -> dict[str, Any]:
    """What a result, or another program, could notice of this process."""
    own = Path("/proc/self")
    status = dict(line.split(":\t", 1) for line in (own / "status").read_text().splitlines())
    files = {
        int(name): os.readlink(own / "fd" / name) for name in os.listdir(own / "fd") if (own / "fd" / name).exists()
    }
    signals = [number for number in signal.valid_signals() if isinstance(number, signal.Signals)]
    return {
        "program": [Path(sys.argv[0]).name, *(word for word in sys.argv[1:] if not word.startswith("/"))],
        "flags": str(sys.flags),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name not in OF_EACH_START},
        "variables of C": os.popen("echo $OMP_NUM_THREADS $RANK $WORLD_SIZE").read(),
        "folders": [os.getcwd(), tempfile.gettempdir()],
        "threads": sorted(thread.name.split("_")[0] for thread in threading.enumerate()),
        "arithmetic threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "generator": torch.initial_seed(),
        "switches": [torch.are_deterministic_algorithms_enabled(), str(torch.get_default_dtype())],
        "warnings": [str(each) for each in warnings.filters],
        "signals": {number.name: str(_name(signal.getsignal(number))) for number in sorted(signals)},
        "status": {name: status[name] for name in ("Umask", "SigBlk", "SigIgn", "SigCgt", "Cpus_allowed")},
        "session": [os.getsid(0), os.getpgrp() == os.getpgid(_launcher())],
        "nice": os.nice(0),
        "limits": [resource.getrlimit(number) for number in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE)],
        "streams": [Path(files[number]).name for number in range(3)],
        # of its own log DeepSpeed leaves one open when it asks the compiler for libraries
        "files": sorted(
            path.partition(":")[0] for path in files.values() if path not in (files[0], files[1], files[2])
        ),
        "is a child of its launcher": os.getppid() == _launcher(),
        "recursion": sys.getrecursionlimit(),
    }


def _launcher() -> int:
    return int(os.environ["WARMSCALE_LAUNCHER_PID"])


def _name(handler: Any) -> Any:
    return getattr(handler, "__qualname__", handler)


class Witness(nn.Module):
    """Leaves facts.json and drawn.json in the run's state folder when training begins."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.inner, self.is_written = plain(num_classes), False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        if not self.is_written:
            (_state() / "facts.json").write_text(json.dumps(facts(), indent=1))
            (_state() / "drawn.json").write_text(json.dumps([random.random(), np.random.random(), os.urandom(4).hex()]))
            self.is_written = True
        return self.inner(images)


def witness(num_classes: int) -> nn.Module:
    """See Witness."""
    return Witness(num_classes)


def spoiler(num_classes: int) -> nn.Module:
    """Changes what is its whole process's."""
    os.environ["SPOILED"] = "1"
    os.umask(0)
    os.chdir("/")
    os.nice(1)
    torch.manual_seed(7)
    torch.set_num_threads(2)
    random.seed(7)
    np.random.seed(7)
    warnings.simplefilter("error")
    tempfile.tempdir = "/"
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.setrecursionlimit(5000)
    threading.Thread(target=time.sleep, args=(60,), daemon=True, name="left over").start()
    warnings.simplefilter("ignore")
    return plain(num_classes)


def crashing(num_classes: int) -> nn.Module:
    """Ends its process by a segmentation fault."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return plain(num_classes)
