"""Ranks in an image, through both presets with Apptainer as shipped, cut to the size of a double of LSF."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lsf_double.cluster import Cluster
from warmscale.cluster.lsf import bsub_words
from warmscale.cluster.placement import Where
from warmscale.cluster.site import load_site
from warmscale.config_files import read_config
from warmscale.records import read_json
from warmscale.study import load_study

from .apptainer_stub import ApptainerStub
from .conftest import REPOSITORY, Checkout
from .test_lsf import ONE_RUN, LsfCheckout

SMALL = {"node": {"gpus": 0, "cores": 1}, "placement": {"max_nodes": 2}, "node_local": None}
"""What of a preset's facts the double has otherwise; its queue has another name besides."""


def preset(name: str) -> dict:
    """The facts of a shipped preset."""
    return yaml.safe_load((REPOSITORY / "profiles/lsf/presets" / f"{name}.yaml").read_text())


@pytest.fixture(params=["plain", "summit"])
def inside(request, checkout: Checkout, tmp_path: Path, monkeypatch, tiny) -> Iterator[LsfCheckout]:
    """A checkout whose site is a preset with a container, beside a cluster of that kind."""
    stub, image = ApptainerStub(tmp_path / "stub"), tmp_path / "images/warmscale.sif"
    image.parent.mkdir()
    image.write_bytes(b"an image")
    monkeypatch.setenv("PATH", str(stub.bin), prepend=":")
    monkeypatch.setenv("LOADEDMODULES", "gcc/12:cuda/12.4")
    facts = preset(f"{request.param}-apptainer")
    facts["container"]["image"] = str(image)
    is_easy = facts["style"] == "easy"
    queues = {facts["queue"] or "normal": None}
    size = {"hosts": 2, "slots_per_host": 1, "gpus_per_host": 0}
    checkout.write(tiny(experiments=[ONE_RUN]))
    with Cluster(tmp_path / "cluster", **size, queues=queues, easy_mode=is_easy, kill_interval_sec=1.0) as cluster:
        made = LsfCheckout(checkout, cluster)
        made.site(**facts | SMALL)
        made.stub, made.image, made.kind = stub, image, request.param
        yield made
        made.end()


def test_ranks_train_in_the_image_and_the_record_names_all_that_the_run_id_leaves_out(inside, monkeypatch):
    assert inside.finish() == 0, inside.log()
    (path,) = (inside.folder / "results/tiny/runs").glob("*/run.json")
    record = read_json(path)
    assert (record["state"], record["world_size"]) == ("finished", 2)
    assert record["image"] == {"path": str(inside.image), "sha256": hashlib.sha256(b"an image").hexdigest()}
    assert record["modules"] == ["gcc/12", "cuda/12.4"]
    assert {record["versions"][name] for name in ("driver", "cuda", "nccl")} == {
        None
    }  # there, on a machine without GPUs

    assert {call["image"] for call in inside.stub.calls()} == {str(inside.image)}
    assert_all_that_is_named_is_bound(inside)
    assert_lsf_was_asked_in_the_words_of_the_preset(inside, record["run_id"])
    assert_the_id_is_that_of_the_content(inside, record)


def assert_all_that_is_named_is_bound(inside: LsfCheckout) -> None:
    """Of the words of each command that begin at the root, but for the programs of the image itself."""
    for call in inside.stub.calls():
        assert call["pwd"] == str(inside.folder) and not call["nv"]
        named = [Path(word) for word in call["command"] if word.startswith(str(inside.folder.parent))]
        assert named
        for path in named:
            assert any(path.is_relative_to(folder) for folder in call["bind"]), (path, call)


def assert_lsf_was_asked_in_the_words_of_the_preset(inside: LsfCheckout, run_id: str) -> None:
    """Of the only job of the study: as the code makes them of the preset, and no other ones."""
    site, (words,) = load_site(inside.folder / "profiles/lsf/site.yaml"), inside.cluster.calls("bsub")
    log = read_json(inside.folder / f"results/tiny/state/{run_id}/job.json")["log"]
    about = {"where": Where(2, 1), "name": f"tiny:{run_id}", "log": log, "cwd": inside.folder}
    command = words[-1].removeprefix(f"cd {inside.folder} || exit; ")
    made = bsub_words(site, walltime_min=site.walltime_min(2), command=command, **about)
    assert words == made[1:]
    task = inside.folder / f"results/tiny/state/{run_id}/task.json"
    assert f"WARMSCALE_TASK={task}" in words[-1] and f"train:run={run_id}" in words[-1]
    size = {"plain": ["-n", "2", "-R", "span[ptile=1]"], "summit": ["-nnodes", "2", "-alloc_flags", "smt1 nvme"]}
    at = words.index(size[inside.kind][0])
    assert words[at : at + 4] == size[inside.kind]


def assert_the_id_is_that_of_the_content(inside: LsfCheckout, record: dict) -> None:
    """The config's own, which knows of no site; and without the container nothing is to be done."""
    (run,) = load_study(read_config(inside.folder / "config/config.yaml")).runs.values()
    assert (record["run_id"], record["content"]) == (run.run_id, run.content)
    inside.site(**preset(inside.kind) | SMALL)
    assert inside.finish("-n") == 0
    assert "Nothing to be done" in inside.log().rpartition("Building DAG of jobs")[2]
