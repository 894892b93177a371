"""What measuring gradients costs: a run's steps with it and without. Writes gradients.csv.

Both in the same processes, a rank a core, in turns, the order changing from round to round: a block of steps with
`placement.gradients` on, at its default of every Nth step, and one with it off, of which each has the same number of
steps. Images and labels are in memory; audit, loss and accuracy are as in a run.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from common import PYTHON, environment, write_results
from step import Case, join, ours

CASES = (
    Case("resnet8", 1, 16, 32, steps=100, rounds=40),
    Case("resnet8", 2, 16, 32, steps=100, rounds=40),
    Case("resnet18", 1, 32, 32, steps=20, rounds=40),
    Case("resnet18", 2, 32, 32, steps=20, rounds=40),
)
"""Steps of a block: a multiple of every N that is measured."""


def main() -> None:
    """Measure all cases and write gradients.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of one case, which writes nothing")
    parser.add_argument("--every", type=int, help="another N than the default; writes nothing")
    parser.add_argument("--rank", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.rank:
        return serve(Case(**chosen.rank["case"]), Path(chosen.rank["folder"]), chosen.rank["every"])
    cases = [replace(CASES[0], rounds=2)] if chosen.quick else CASES
    rows = [row_of(case, chosen.every or default_steps()) for case in cases]
    if chosen.quick or chosen.every:
        print(*(json.dumps(row) for row in rows), sep="\n")
    else:
        write_results("gradients", rows)
    return None


def default_steps() -> int:
    """N, unless a placement says otherwise."""
    from warmscale.study.config import Placement

    return Placement().gradients_every_steps


def row_of(case: Case, every: int) -> dict:
    """Milliseconds of a step with and without, and their ratio in the same round."""
    off, on = zip(*timed(case, every), strict=True)
    (off, off_cpu), (on, on_cpu) = (zip(*each, strict=True) for each in (off, on))
    ratios = sorted(ours / theirs for ours, theirs in zip(on, off, strict=True))
    of_cpu = [ours / theirs for ours, theirs in zip(on_cpu, off_cpu, strict=True)]
    return {
        "model": case.model,
        "ranks": case.ranks,
        "image_size": case.image_size,
        "images_a_rank": case.images,
        "every_steps": every,
        "step_ms_off": round(1000 * statistics.median(off), 3),
        "step_ms_on": round(1000 * statistics.median(on), 3),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_quartile_1": round(ratios[len(ratios) // 4], 4),
        "ratio_quartile_3": round(ratios[-1 - len(ratios) // 4], 4),
        "ratio_cpu": round(statistics.median(of_cpu), 4),
        "blocks": len(ratios),
        "steps_a_block": case.steps,
    }


def timed(case: Case, every: int) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Seconds of a step, elapsed and of the first rank's processor, without and with, round by round."""
    with tempfile.TemporaryDirectory(prefix="warmscale-gradients-") as folder, socket.socket() as free:
        free.bind(("localhost", 0))
        place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(case.ranks)}
        free.close()
        told = json.dumps({"case": vars(case), "folder": folder, "every": every})
        ranks = [
            subprocess.Popen(
                [PYTHON, __file__, "--rank", told],
                env=environment(**place, RANK=str(rank), LOCAL_RANK=str(rank)),
                stdout=subprocess.PIPE,
                stderr=(Path(folder) / f"rank{rank}.log").open("w"),
                text=True,
            )
            for rank in range(case.ranks)
        ]
        answers = [rank.communicate()[0] for rank in ranks]
        if any(rank.returncode for rank in ranks):
            sys.exit((Path(folder) / "rank0.log").read_text())
    yield from json.loads(answers[0])


def serve(case: Case, folder: Path, every: int) -> None:
    """Be one rank: time all rounds, and print them."""
    import torch

    answers, rank, images, labels = join(case)
    loops = []
    for on in (False, True):
        own = folder / f"{on}{rank}"
        own.mkdir()
        loops.append(ours(case, rank, images, labels, own, "deepspeed", gradients=on, gradients_every_steps=every))
    rounds = []
    for number in range(case.rounds + 1):
        each = [(0.0, 0.0)] * 2
        for which in (0, 1) if number % 2 else (1, 0):
            torch.distributed.barrier()
            started, used = time.perf_counter(), time.process_time()
            for _ in range(case.steps):
                loops[which]()
            torch.distributed.barrier()
            each[which] = (time.perf_counter() - started) / case.steps, (time.process_time() - used) / case.steps
        rounds.append(each)
    print(json.dumps(rounds[1:]), file=answers, flush=True)  # the first round warms up


if __name__ == "__main__":
    main()
