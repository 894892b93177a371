"""`warmscale submit`: Snakemake itself as a small batch job, which submits its successor before its walltime."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cluster.chain import Chain
    from ..cluster.site import Site

DRY_RUN = ("-n", "-np", "--dry-run", "--dryrun")
EXPLANATION = """\
For sites that kill long processes on login nodes. All words are Snakemake's own: `warmscale submit --profile lsf
--configfile config/digits.yaml` runs `snakemake --profile lsf --configfile config/digits.yaml` in a job of one slot
(`master` in site.yaml), which submits its successor before its walltime, until Snakemake has ended. The small rules of
the study (tables, figures, report) run in that job as well.

Ending that job (bkill, scancel) ends the study's jobs too; they save before, and the same command goes on.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `warmscale`."""
    parser = commands.add_parser(
        "submit",
        help="run Snakemake itself as a batch job, which submits its successor before its walltime",
        description="Run Snakemake itself as a small batch job, which submits its successor before its walltime.",
        usage="warmscale submit --profile NAME [WORDS OF SNAKEMAKE]",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prefix_chars="\0",  # no option is ours
        add_help=False,
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(command=lambda arguments: run(arguments.words, parser))


def run(words: Sequence[str], parser: argparse.ArgumentParser) -> int:
    """Submit the first job, unless the study has a master already."""
    from ..cli import UserError
    from ..cluster.batch import SchedulerError

    if not words or {"-h", "--help"} & set(words):
        parser.print_help()
        return 0 if words else 2
    if asked := [word for word in words if word in DRY_RUN]:
        raise UserError(f"{asked[0]}: a dry run needs no job; type `snakemake {' '.join(words)}`")
    chain = _chain(words)
    try:
        _refuse_a_second(chain)
        job_id = chain.submit()
    except SchedulerError as error:
        raise UserError(str(error)) from error
    print("\n".join(_hints(chain, job_id)))
    return 0


def _chain(words: Sequence[str]) -> Chain:
    from ..cli import UserError
    from ..cluster.chain import Chain
    from ..cluster.site import SiteError, load_site, site_of_profile

    given = _given(words)
    assigned = dict(word.split("=", 1) for word in given.config if "=" in word)
    if not given.profile:
        raise UserError("--profile is missing, as --profile lsf: it says which batch system takes the job")
    try:
        site_file = Path(assigned.get("site") or site_of_profile(given.profile))
        site = load_site(site_file)
    except SiteError as error:
        raise UserError("\n".join(error.lines)) from error
    if site.scheduler == "local":
        raise UserError(f"{site_file}: scheduler is local, and submit needs a batch system; type `snakemake` instead")
    return Chain(site, site_file, Path(site.results, _study_name(given.configfile, site)), tuple(words))


def _given(words: Sequence[str]) -> argparse.Namespace:
    """What has to be known of Snakemake's words."""
    parser = argparse.ArgumentParser(prog="warmscale submit", add_help=False, allow_abbrev=False)
    parser.add_argument("--profile")
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[Path("config/config.yaml")])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    return parser.parse_known_args(words)[0]


def _study_name(configs: Sequence[Path], site: Site) -> str:
    """Name of the study that the config files describe together; raises UserError, before a job does."""
    from ..cli import UserError
    from ..cluster.site import placement_of
    from ..config_files import read_config
    from ..study import StudyError, load_study

    raw: dict[str, Any] = {}
    try:
        for path in configs:
            raw |= read_config(path)
        raw.pop("site", None)
        return load_study(raw | {"placement": placement_of(raw.get("placement"), site)}).name
    except StudyError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in error.lines)) from error


def _refuse_a_second(chain: Chain) -> None:
    """Raises UserError where a master lives, as a job that is noted or as a process that holds the study's lease."""
    from .. import lease
    from ..cli import UserError
    from ..cluster.batch import cancel_words

    if job_id := chain.living():
        ends = " ".join(cancel_words(chain.site.scheduler, job_id))
        raise UserError(f"{chain.results}: job {job_id} is its master already (log: {chain.log}); `{ends}` ends it")
    folder = chain.results / "master"
    if not folder.is_dir():
        return
    try:
        lease.acquire(folder, {"job_id": None}).release()
    except lease.LeaseHeldError as error:
        raise UserError(f"{chain.results}: a Snakemake works on this study, {error}; end it first") from error


def _hints(chain: Chain, job_id: str) -> list[str]:
    from ..cluster.batch import cancel_words

    elsewhere = f" --results {chain.results.parent}" if chain.results.parent != Path("results") else ""
    return [
        f"job {job_id} is submitted; it runs Snakemake, and submits its successor before its walltime of "
        f"{chain.site.master_walltime_min} min",
        f"log    {chain.log}",
        f"watch  warmscale status --study {chain.results.name}{elsewhere} --watch",
        f"stop   {' '.join(cancel_words(chain.site.scheduler, job_id))}    (the study's jobs save and end; the log and "
        f"{chain.record} name the later job)",
    ]
