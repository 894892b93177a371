"""Whether a plan is one of the study, the budget and the site as they are now, and what to type where it is not."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .planned import PLAN, StudyPlan

if TYPE_CHECKING:
    from ..cluster.site import Site
    from .study import Study

NODE_FIELDS = {"nodes", "max_nodes", "ranks_per_node"}
"""Of a placement, those that a plan chooses places by, and that the command line may set for a call."""
DRY_RUN = re.compile(r"--dry-?run|-([pkFf]*)n(.*)")
"""What asks for a dry run, maybe among other letters as in -np."""
WORDS = {"statement", "source"}
"""Of a claim: what changes nothing."""
OF_NO_COST = {"title", "minutes"}
"""Of a throughput experiment: what its node-hours do not rest on."""


def fingerprint(study: Study, site: Site) -> str:
    """Short hash of all that a plan is made from, but for what is finished; after a hyphen that of its nodes."""
    config = study.config
    rules = ("confidence", "familywise", "max_looks", "max_seeds", "smallest_effect", "metric")
    facts = {
        "runs": sorted(study.runs),
        "points": sorted(json.dumps([one.experiment, one.run_id, _plain(one.factors)]) for one in study.points),
        "imported": {one.run_id: [one.seed, _plain(one.row)] for one in study.imported.values()},
        "claims": [claim.model_dump(mode="json", exclude=WORDS) for claim in config.claims],
        "rules": config.model_dump(mode="json", include=set(rules)),
        "planning": config.planning.model_dump(mode="json"),
        "throughputs": [one.model_dump(mode="json", exclude=OF_NO_COST) for one in config.throughputs],
        "budget": config.budget and config.budget.model_dump(mode="json"),
        "placement": config.placement.model_dump(mode="json", exclude=NODE_FIELDS),
        "site": _of_site(site),
    }
    return f"{_hash(facts)}-{_hash(config.placement.model_dump(mode='json', include=NODE_FIELDS))}"


def is_stale(plan: StudyPlan, study: Study, site: Site, asked_for: Iterable[str] = ()) -> bool:
    """Whether a plan was made from something else; asked_for: fields of the placement that the command line sets.

    Where these are nodes, it has the last word on them, and the plan's are not compared.
    """
    planned, now = plan.fingerprint.split("-"), fingerprint(study, site).split("-")
    return planned[:1] != now[:1] if NODE_FIELDS.intersection(asked_for) else planned != now


def stale_line(words: Sequence[str], targets: Iterable[str]) -> str:
    """That a plan is stale, and what to type; words and targets: of Snakemake's command line."""
    asked = [DRY_RUN.sub(_without_dry_run, word) if DRY_RUN.fullmatch(word) else word for word in words]
    again = shlex.join(["snakemake", "plan", *(word for word in asked if word and word not in set(targets))])
    return (
        f"{PLAN} is stale: the study, its budget, its placement or the site is another than it was planned for; "
        f"it is carried out as it is. To plan again: {again}"
    )


def _of_site(site: Site) -> dict[str, Any]:
    """Facts of a site that costs and order rest on."""
    limits = [limit.model_dump(mode="json") for limit in site.walltime]
    names = ("scheduler", "margin_sec", "eligible_jobs", "hardware", "gpus")
    return {"walltime": limits} | {name: getattr(site, name) for name in names}


def _without_dry_run(found: re.Match) -> str:
    """The other letters of a word that asks for a dry run."""
    letters = "".join(letter or "" for letter in found.groups())
    return f"-{letters}" if letters else ""


def _plain(values: Mapping[str, Any]) -> dict[str, str]:
    """Values of any kind as text, in the order of their names."""
    return {str(name): repr(values[name]) for name in sorted(values)}


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
