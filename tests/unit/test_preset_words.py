"""What the shipped presets ask LSF for, word by word: the poster's run of 240 workers on 40 nodes of 6 GPUs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.unit.study_builders import ROOT, read_config
from warmscale.cluster.lsf import bsub_words
from warmscale.cluster.site import load_site, placement_of
from warmscale.study import load_study

PRESETS = ROOT / "profiles/lsf/presets"
LINES = {
    "plain": (
        "bsub -J poster:RUN -o /logs/RUN.log -e /logs/RUN.log -W 720 "
        "-n 1680 -R 'span[ptile=42]' -gpu num=6:mode=exclusive_process 'cd /repo || exit; COMMAND'"
    ),
    "summit": (
        "bsub -J poster:RUN -o /logs/RUN.log -e /logs/RUN.log -P ABC123 -q batch -W 120 "
        "-nnodes 40 -alloc_flags 'smt1 nvme' 'cd /repo || exit; COMMAND'"
    ),
}


def submission(site_file: Path) -> str:
    """The bsub line of the poster's first run of 240 workers on a site, placed as the workflow places it."""
    site = load_site(site_file)
    raw = read_config("config")
    study = load_study(raw | {"placement": placement_of(raw.get("placement"), site)})
    where = study.where(next(run for run in study.runs.values() if run.recipe.workers == 240))
    minutes, log = site.walltime_min(where.nodes), "/logs/RUN.log"
    about = {"where": where, "name": "poster:RUN", "log": log, "cwd": "/repo", "walltime_min": minutes}
    return shlex.join(bsub_words(site, command="COMMAND", **about))


@pytest.mark.parametrize("preset", ["plain", "summit", "plain-apptainer", "summit-apptainer"])
def test_a_shipped_preset_asks_for_40_nodes_in_these_words(preset):
    assert submission(PRESETS / f"{preset}.yaml") == LINES[preset.removesuffix("-apptainer")]


def test_the_profile_as_shipped_asks_for_the_same():
    assert submission(ROOT / "profiles/lsf/site.yaml") == LINES["plain"]
