"""Starting the warm process beside Snakemake, and ending it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ...cluster.gpus import visible_gpus
from ...cluster.launchers import LaunchPlan, rank_script
from ...cluster.placement import Where
from ...cluster.resources import launch_plan
from ...cluster.site import Site
from ..signals import end_with_parent
from .origin import obstacles
from .wire import ADDRESS

PROGRAM = Path(__file__).resolve().parents[3] / "train_warm.py"


class WarmProcess:
    """The warm process of this Snakemake: the programs that it starts find it, and it ends with it at the latest."""

    def __init__(self, plan: LaunchPlan | None, log: Path):
        """For ranks of this plan, None for none; nothing is started yet."""
        self._plan, self._log = plan, log
        self._process: subprocess.Popen | None = None

    def begin(self) -> None:
        """Start it as a rank of the plan would be started; it warms up by itself, and who comes too early waits."""
        if not self._plan:
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if why := self._why_not():
            self._log.write_text(f"runs start cold: {', '.join(why)}\n")
            return
        listener, name = socket.socket(socket.AF_UNIX), f"warmscale-{secrets.token_hex(16)}"
        listener.bind(f"\0{name}")
        listener.listen(socket.SOMAXCONN)
        words = ["--listener", str(listener.fileno()), "--plan", json.dumps(self._plan.to_json())]
        environment = dict(os.environ)
        with self._log.open("w") as log, listener:
            self._process = subprocess.Popen(
                ["bash", "-c", rank_script(self._plan, [str(PROGRAM), *words])],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[listener.fileno()],
                process_group=0,  # in this session; what a terminal sends is for those who know how to pause
                preexec_fn=end_with_parent,
            )
        with contextlib.suppress(OSError):  # it has ended already
            self._process.stdin.write(json.dumps(environment).encode() + b"\n")
            self._process.stdin.flush()
        os.environ[ADDRESS] = name

    def end(self) -> None:
        """End it; runs that go on are no matter of it."""
        if not self._process:
            return
        os.environ.pop(ADDRESS, None)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process = None

    def _why_not(self) -> list[str]:
        """What is in the way of it here, by name."""
        here = {"GPUs": visible_gpus(os.environ), "no Linux": sys.platform != "linux"}
        return list(dict.fromkeys([*obstacles(self._plan), *(name for name, is_so in here.items() if is_so)]))


def plan_of(site: Site, places: Iterable[Where]) -> LaunchPlan | None:
    """As what ranks the warm process is started: those of the first of these places, if possible such as can be forked.

    None where runs are not to start warm: they go to a scheduler, or the placement says so.
    """
    if site.scheduler != "local" or not site.placement.warm_starts:
        return None
    plans = [launch_plan(site, where, threads=1) for where in places]
    return next((plan for plan in plans if not obstacles(plan)), plans[0] if plans else None)
