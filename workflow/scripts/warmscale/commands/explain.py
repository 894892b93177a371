"""`warmscale explain`: where a run goes, what is submitted for it, and what is started there."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cluster.resources import Place
    from ..cluster.site import Site
    from ..study import Run, Study
    from ..study.planned import StudyPlan

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
EXPLANATION = """\
Nothing is submitted or started. The command in the submission is one that carries out the run by hand: Snakemake's own
is longer and does the same. HOST1 and PORT stand for what only a job knows.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `warmscale`."""
    parser = commands.add_parser(
        "explain",
        help="show where a run goes, what is submitted for it, and what is started there",
        description="Show where a run goes, what is submitted for it, and what is started there.",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", metavar="RUN", help="run id, or the beginning of one; `warmscale status --configfile FILE` lists them"
    )
    config = Path("config/config.yaml")
    parser.add_argument(
        "--configfile", type=Path, default=config, metavar="FILE", help=f"config of the study ({config})"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--profile", metavar="NAME", help="profile whose site.yaml is meant; default: this machine")
    which.add_argument("--site", type=Path, metavar="FILE", help="the site file itself")
    parser.add_argument("--nodes", type=int, metavar="N", help="on so many nodes, whatever config, site and plan say")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print all about one run."""
    from ..cli import UserError
    from ..cluster.placement import PlacementError
    from ..cluster.resources import place_on
    from ..cluster.site import SiteError, load_site, site_of_profile
    from ..study import StudyError
    from ..study.planned import PlanFileError, read_plan

    if arguments.nodes is not None and arguments.nodes < 1:
        raise UserError(f"--nodes is {arguments.nodes}, must be at least 1")
    try:
        site_file = site_of_profile(arguments.profile) if arguments.profile else arguments.site
        site = load_site(site_file)
        study = _study(arguments.configfile, site)
        chosen = study.runs[find_run_id(arguments.run, study)]
        plan = read_plan(Path(site.results, study.name))
        job = plan.jobs.get(chosen.run_id) if plan and arguments.nodes is None else None
        place = place_on(site, *(job or (study.where(chosen, arguments.nodes), None)))
    except (SiteError, PlacementError, PlanFileError) as error:
        raise UserError(str(error)) from error
    except StudyError as error:
        raise UserError("\n".join(f"{arguments.configfile}: {line}" for line in error.lines)) from error
    of_plan = _of_plan(plan, chosen.run_id, is_followed=job is not None) if plan else ""
    print("\n".join(explained(study, chosen, site, place, arguments.configfile, site_file, of_plan)))
    return 0


def _of_plan(plan: StudyPlan, run_id: str, *, is_followed: bool) -> str:
    """What a plan says of a run; not followed where --nodes has the last word on a run that is to be done."""
    if run_id in plan.jobs:
        then = "nodes and walltime are the plan's" if is_followed else "but --nodes has the last word"
        return f"planned, priority {plan.priorities[run_id]}; {then}"
    if plan.decisions.get(run_id) == "finished":
        return "done before it was made"
    return "left out: no call carries it out as long as the plan is in force"


def find_run_id(beginning: str, study: Study) -> str:
    """The run of a study that is named, or whose id alone begins so; raises UserError."""
    from ..cli import UserError
    from ..study.errors import closest

    found = [run_id for run_id in study.runs if run_id.startswith(beginning)]
    if beginning in found or len(found) == 1:
        return beginning if beginning in found else found[0]
    if found:
        raise UserError(f"{beginning} is the beginning of {len(found)} runs, of {found[0]} and {found[1]} for example")
    if not study.runs:
        raise UserError(f"{beginning} is no run of {study.name}, which has none")
    beginnings = {run_id[: len(beginning)]: run_id for run_id in reversed(study.runs)}
    meant = closest(beginning, list(beginnings))
    hint = (
        f"did you mean {beginnings[meant]}?" if meant else f"one of its {len(study.runs)} is {next(iter(study.runs))}"
    )
    raise UserError(f"{beginning} is no run of {study.name}; {hint}")


def explained(
    study: Study, run: Run, site: Site, place: Place, config_file: Path, site_file: Path | None, of_plan: str
) -> Iterator[str]:
    """All lines about a run; of_plan: what a plan says of it."""
    from ..cluster.launchers import rank_script
    from ..records import StateFolder

    where, share = place.where, site.share(place.where)
    state = StateFolder(Path(site.results, study.name, "state", run.run_id))
    a_rank = run.recipe.workers // where.ranks
    images = run.recipe.batchnorm_batch_size or run.worker_batch_size
    minutes = place.job.get("runtime")
    paused = f"; a run pauses {site.margin_sec} s before and goes on in its next job" if minutes else ""
    kind = {"lsf": f"LSF, style {site.style}", "slurm": "Slurm", "local": "this machine"}[site.scheduler]
    yield f"run         {run.run_id}"
    yield f"study       {study.name}, {', '.join(study.experiments_of(run.run_id))}"
    if of_plan:
        yield f"plan        {of_plan}"
    yield f"site        {kind}{f', {site_file}' if site_file else ''}"
    yield f"where       {_counted(where.nodes, 'node')} x {_counted(where.ranks_per_node, 'rank')} = {where.ranks}"
    yield f"each node   {_counted(share.cores, 'core')}, {_counted(share.gpus, 'GPU')}"
    yield (
        f"each rank   {_counted(a_rank, 'worker')} of {run.recipe.workers}, so "
        f"{_counted(run.recipe.mini_batch_size // where.ranks // images, 'batch', 'es')} of {images} images a step"
    )
    yield f"walltime    {f'{minutes} min' if minutes else 'none'}{paused}"
    if site.scheduler != "local":
        yield from ("", "# what is submitted", shlex.join(_submission(study, run, site, place, config_file, site_file)))
    yield from ("", f"# what starts the ranks, {'on the first host of the job' if minutes else 'here'}")
    yield from _launch(place, state.rank_script)
    yield from ("", f"# {state.rank_script}", rank_script(place.plan, _command(study, run, site)).rstrip())


def _study(config_file: Path, site: Site) -> Study:
    from ..cluster.site import placement_of
    from ..config_files import read_config
    from ..study import load_trained

    raw = dict(read_config(config_file))
    raw.pop("site", None)
    return load_trained(raw | {"placement": placement_of(raw.get("placement"), site)})


def _submission(
    study: Study, run: Run, site: Site, place: Place, config_file: Path, site_file: Path | None
) -> list[str]:
    from ..cluster.lsf import bsub_words
    from ..cluster.slurm import sbatch_words

    words = [sys.executable, "-m", "snakemake", "--cores", "all", "--nolock", "--rerun-incomplete"]
    words += ["--configfile", str(config_file), "--config", f"site={site_file}"]
    words += ["--set-resources", f"train:nodes={place.where.nodes}", "--"]
    make = bsub_words if site.scheduler == "lsf" else sbatch_words
    return make(
        site,
        where=place.where,
        name=f"{study.name}:{run.run_id}",
        log=Path(site.results, study.name, "logs", f"{run.run_id}.log").absolute(),
        cwd=Path.cwd(),
        walltime_min=place.job.get("runtime"),
        command=shlex.join([*words, f"{site.results}/{study.name}/runs/{run.run_id}/run.json"]),
    )


def _launch(place: Place, script: Path) -> Iterator[str]:
    from ..cluster.launchers import launch_commands

    plan = place.plan
    if plan.launcher == "local":
        last = f"  # and so on, to RANK={plan.ranks - 1}" if plan.ranks > 1 else ""
        yield f"RANK=0 LOCAL_RANK=0 WORLD_SIZE={plan.ranks} bash {shlex.quote(str(script))}{last}"
        return
    hosts = " ".join(f"HOST{number}" for number in range(1, plan.nodes + 1))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LSB_")}
    first, *others = launch_commands(plan, script.absolute(), environment | {"LSB_HOSTS": hosts}, port="PORT")
    last = f"  # and so on, to {plan.nodes - 1} on HOST{plan.nodes}" if others else ""
    yield f"{shlex.join(first)}{last}"


def _command(study: Study, run: Run, site: Site) -> list[str]:
    """Words of a rank behind the interpreter, as the parent of the ranks writes them."""
    from ..study.config import WHERE_FIELDS

    data, results = study.config.dataset, Path(site.results, study.name)
    index = results / "data" / f"{data.name}-{data.fingerprint}.tsv"
    paths = {"state": results / "state" / run.run_id, "index": index, "root": Path(data.root)}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path.absolute()))]
    settings = json.dumps(study.config.placement.model_dump(exclude=WHERE_FIELDS))
    return [str(TRAIN), "--run", run.run_id, *options, "--settings", settings]


def _counted(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"
