"""Lines from the training steps of the check. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cluster.placement import Where
from ..records import read_json, read_rows
from .findings import Lines, counted, fail, ok, size, warn
from .job import last_words
from .on_nodes import CheckFolder

if TYPE_CHECKING:
    from ..cluster.site import Site
    from ..study import Run

MUCH_WAITING = 0.1
"""Share of the time that ranks wait for images."""
ROOM = 2.0
"""As training.deadline: steps that the trainer keeps free before it pauses."""


def step_lines(folder: CheckFolder, run: Run, wanted: int, here: Where, site: Site, real: Where) -> Lines:
    """How training went; `here` it ran now, `real` is where the run's own jobs are."""
    what, state = "training", folder.state("train")
    end, failure = read_json(folder.end("train")), read_json(state.failure)
    facts = [read_json(path) for path in sorted((folder.path / "steps").glob("*.json"))]
    first = next((fact for fact in facts if "data_wait_sec" in fact), None)
    if end is None:
        return
    if failure or end["error"] or first is None or first["step_sec"] is None:
        yield fail(what, _why(folder))
        return
    done, seconds = first["steps"], first["step_sec"]
    waiting = first["data_wait_sec"] / max(first["train_sec"], 1e-9)
    peak = max(fact["peak_memory_mib"] for fact in facts)
    text = (
        f"{counted(done, 'step')} of {run.recipe.mini_batch_size:,} images on {counted(here.ranks, 'rank')}: "
        f"{run.recipe.mini_batch_size / seconds:,.0f} images/s, {seconds:.3g} s a step, "
        f"{waiting:.0%} of it waiting for images, peak memory {size(peak * 2**20)} a rank"
    )
    if done < min(wanted, run.total_steps):
        yield warn(what, f"{text}; the time was over before {wanted} steps: more nodes, or a smaller run (--run)")
    else:
        yield ok(what, text)
    if waiting > MUCH_WAITING:
        yield warn("loading", f"{waiting:.0%} of the time goes into waiting for images; placement.loader_threads: more")
    yield from _audit(folder)
    yield from _walltime(folder, run, seconds, here, site, real)


def _why(folder: CheckFolder) -> str:
    state, end, failure = (
        folder.state("train"),
        read_json(folder.end("train")),
        read_json(folder.state("train").failure),
    )
    if end["error"]:
        return end["error"]
    if failure:
        log, advice = state.log(failure.get("rank") or 0), failure.get("advice")
        return f"{failure['failure_class']}: {failure['failure']}{f'; {advice}' if advice else ''}; see {log}"
    if end["timed_out"]:
        return f"no end within {end['sec']:.0f} s, killed; rank 0 says: {last_words(state.log(0))}"
    return f"exit codes {end['codes']} without a reason; the launcher says: {last_words(state.launcher_log)}"


def _audit(folder: CheckFolder) -> Lines:
    """The audit raises where something is not as it should be: rows that are there have passed."""
    rows = read_rows(folder.state("train").steps)
    if not rows:
        yield fail("audit", f"left no row in {folder.state('train').steps}; this is a bug of ours")
        return
    row = rows[0]
    rate, error = float(row["learning_rate"]), row["update_error"]
    measured = f", the update differs by {float(error):.1g} from rate times direction" if error else ""
    yield ok(
        "audit",
        f"passed: {int(row['distinct_images']):,} distinct images and rate {rate:g} in step {row['step']}{measured}",
    )


def _walltime(folder: CheckFolder, run: Run, seconds: float, here: Where, site: Site, real: Where) -> Lines:
    """What the steps say about the run's own jobs, if the time of a step falls as the ranks grow."""
    written = (read_json(folder.path / "checkpoint.json") or {}).get("bytes", 0)
    checkpoint = f"; a checkpoint has {size(written)}" if written else ""
    step = seconds * here.ranks / real.ranks
    minutes_needed = step * run.total_steps / 60
    minutes = site.walltime_min(real.nodes)
    needs = f"{run.run_id} needs about {_time(minutes_needed)} on {counted(real.nodes, 'node')} if it scales"
    if not minutes:
        yield ok("walltime", f"none; {needs}{checkpoint}")
        return
    jobs = max(1, -(-minutes_needed // (minutes - site.margin_sec / 60)))
    if ROOM * step > site.margin_sec:
        yield fail(
            "walltime",
            f"a step takes {step:.0f} s and margin_sec is {site.margin_sec}: raise it to {2 * ROOM * step:.0f}",
        )
    else:
        yield ok("walltime", f"{needs}: {counted(int(jobs), 'job')} of {minutes} min{checkpoint}")


def _time(minutes: float) -> str:
    if minutes < 2:
        return f"{60 * minutes:.2g} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.3g} h"
