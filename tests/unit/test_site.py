"""Facts of a site: what may stand in a site.yaml, what is refused in which words, and what follows from it."""

from pathlib import Path

import pytest
import yaml

from tests.unit.study_builders import ROOT
from warmscale.cluster import site as site_module
from warmscale.cluster.placement import Where
from warmscale.cluster.resources import launch_plan, place_on, rule_resources
from warmscale.cluster.site import Site, SiteError, load_site, placement_of, site_of_profile
from warmscale.study.config import Placement

SHIPPED = sorted([*ROOT.glob("profiles/*/site.yaml"), *ROOT.glob("profiles/lsf/presets/*.yaml")])
CLUSTER = {
    "scheduler": "lsf",
    "launcher": "mpirun",
    "node": {"gpus": 6, "cores": 42},
    "walltime": [{"up_to_nodes": 45, "minutes": 120}, {"up_to_nodes": 92, "minutes": 360}],
}


def site_with(**changes):
    return Site.model_validate(CLUSTER | changes)


def lines_of(folder, facts):
    """What is said about a site file, without the path that each line begins with."""
    path = folder / "site.yaml"
    path.write_text(facts if isinstance(facts, str) else yaml.safe_dump(facts))
    with pytest.raises(SiteError) as refused:
        load_site(path)
    assert all(line.startswith(f"{path}: ") for line in refused.value.lines)
    return [line.removeprefix(f"{path}: ") for line in refused.value.lines]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT / "profiles")))
def test_shipped_site_files_are_valid_and_place_the_posters_runs_on_40_nodes(path):
    site = load_site(path)
    placement = Placement.model_validate(placement_of({}, site))
    assert (placement.max_nodes >= 40, placement.ranks_per_node) == (True, 6)
    assert launch_plan(site, Where(40, 6)).ranks == 240
    assert rule_resources(site, Where(40, 6))["nodes"] == 40


def test_the_lsf_profile_is_the_plain_preset():
    shipped, preset = (load_site(ROOT / "profiles/lsf" / name) for name in ("site.yaml", "presets/plain.yaml"))
    assert shipped == preset


@pytest.mark.parametrize("kind", ["plain", "summit"])
def test_presets_with_a_container_differ_in_what_a_container_needs_only(kind):
    bare, inside = (
        yaml.safe_load((ROOT / f"profiles/lsf/presets/{kind}{suffix}.yaml").read_text())
        for suffix in ("", "-apptainer")
    )
    assert {key for key in bare if bare[key] != inside[key]} == {"container", "python"}
    assert list(bare) == list(inside)


def test_without_a_file_the_site_is_this_machine(monkeypatch):
    monkeypatch.setattr(site_module.os, "cpu_count", lambda: 5)
    site = load_site(None)
    assert (site.scheduler, site.launcher, site.cores, site.walltime_min(1)) == ("local", "local", 5, None)
    assert rule_resources(site, Where(1, 1)) == {"nodes": 1}


def test_gpus_of_this_machine_are_counted_and_those_of_a_cluster_are_not(monkeypatch):
    monkeypatch.setattr(site_module, "_gpus_here", lambda: 3)
    assert Site().gpus == 3
    assert Site.model_validate({"node": {"gpus": 0}}).gpus == 0
    assert site_with(node={"cores": 4}).gpus == 0


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"node": {"gpu": 6, "cores": 4}}, "node.gpu: is not a known key: did you mean gpus?"),
        ({"scheduler": "pbs"}, "scheduler: is 'pbs', must be 'local', 'lsf' or 'slurm'"),
        (
            {"launcher": "blaunch", "launcher_options": ["--local_addr=ib0"]},
            "launcher_options: --local_addr=ib0 is an address of one node, and all get the same words: environment: "
            "{NCCL_SOCKET_IFNAME: ib0, GLOO_SOCKET_IFNAME: ib0} chooses a network",
        ),
        (
            {"launcher": "blaunch", "launcher_options": ["--rdzv-backend", "c10d"]},
            "launcher_options: --rdzv-backend is made from the hosts of a job and must not stand here",
        ),
        ({"node": {"cores": "42"}}, "node.cores: is '42', must be a valid integer"),
        ({"placement": {"node": 3}}, "placement.node: is not a known key: did you mean nodes?"),
        ({"container": {"runtime": "apptainer"}}, "container.image: is missing"),
        ({"environment": {"A": True}}, "environment.A: is True, must be a valid string or a valid integer"),
        ({"launcher": "srun"}, "launcher: srun belongs to slurm, not to lsf"),
        ({"launcher": "jsrun"}, "launcher: jsrun belongs to lsf in style easy, not to lsf in style plain"),
        (
            {"launcher": "blaunch", "scheduler": "slurm"},
            "launcher: blaunch belongs to lsf in style plain, not to slurm",
        ),
        ({"launcher": "jsrun", "style": "easy"}, "project: is missing: style easy needs one (-P)"),
        (
            {"style": "easy", "project": "P"},
            "launcher: is mpirun, must be jsrun with style easy: the command runs on a launch node",
        ),
        ({"scheduler": "slurm", "style": "easy"}, "style: easy is a style of LSF, and scheduler is slurm"),
        ({"qos": "long"}, "qos: is for scheduler slurm only, and scheduler is lsf"),
        ({"alloc_flags": "smt1"}, "alloc_flags: is for style easy only, and style is plain"),
        ({"extra": ["-W", "5"]}, "extra: -W is made from the other keys and must not stand here"),
        (
            {"scheduler": "slurm", "extra": ["--gres=gpu:2"]},
            "extra: --gres=gpu:2 is made from the other keys and must not stand here",
        ),
        ({"walltime": []}, "walltime: is missing: batch jobs ask for one, as [{up_to_nodes: 8, minutes: 120}]"),
        ({"walltime": [*reversed(CLUSTER["walltime"])]}, "walltime: up_to_nodes [92, 45] must increase"),
        ({"margin_sec": 7200}, "walltime: 120 minutes are not more than margin_sec 7200"),
        ({"placement": {"nodes": [5, 100]}}, "placement: 100 nodes are too many: walltime ends at up_to_nodes 92"),
        ({"placement": {"max_nodes": 93}}, "placement: 93 nodes are too many: walltime ends at up_to_nodes 92"),
        ({"node": {"gpus": 6}}, "node.cores: is missing: batch jobs ask for cores"),
        (
            {"placement": {"ranks_per_node": 7}},
            "placement.ranks_per_node: 7 ranks need a GPU each, and node.gpus is 6",
        ),
        (
            {"launcher": "local", "placement": {"max_nodes": 2}},
            "launcher: local starts ranks on one node only, and placement has 2",
        ),
        (
            {"container": {"image": "docker://pytorch"}},
            "container.image: is 'docker://pytorch', must be a file, without spaces: `apptainer build` makes one of an "
            "address",
        ),
        ({"environment": {"NO-NAME": "1"}}, "environment: 'NO-NAME' is no name of a variable"),
        (
            {"node_local": "/tmp/$(rm)"},
            "node_local: is '/tmp/$(rm)', must be an absolute folder, in which variables may stand",
        ),
        ({"master": {"walltime": 60}}, "master.walltime: is not a known key: did you mean walltime_min?"),
        ({"master": {"extra": ["-w", "1"]}}, "master.extra: -w is made from the other keys and must not stand here"),
        (
            {"master": {"walltime_min": 60, "margin_sec": 3600}},
            "master.margin_sec: 3600 is not less than a walltime of 60 minutes",
        ),
    ],
)
def test_a_finding_is_one_line_with_file_key_and_what_is_allowed(tmp_path, changes, line):
    assert lines_of(tmp_path, CLUSTER | changes) == [line]


def test_a_machine_without_a_scheduler_has_one_node(tmp_path):
    assert lines_of(tmp_path, {"launcher": "mpirun", "placement": {"nodes": 2}}) == [
        "placement: 2 nodes, and scheduler local is this machine only"
    ]


def test_all_findings_come_at_once(tmp_path):
    unknown = CLUSTER | {"node": {"gpu": 6}, "walltme": [], "margin_sec": -1}
    assert len(lines_of(tmp_path, unknown)) == 3
    contradictions = CLUSTER | {"qos": "a", "alloc_flags": "b", "launcher": "srun"}
    assert len(lines_of(tmp_path, contradictions)) == 3


def test_a_file_that_is_no_yaml_or_not_there_is_one_line(tmp_path):
    assert lines_of(tmp_path, "scheduler: lsf\nscheduler: slurm\n") == ["scheduler: stands twice, in lines 1 and 2"]
    with pytest.raises(SiteError) as refused:
        load_site(tmp_path / "none.yaml")
    assert refused.value.lines == [f"{tmp_path}/none.yaml: cannot be read: No such file or directory"]


@pytest.mark.parametrize("nodes, minutes", [(1, 120), (45, 120), (46, 360), (92, 360)])
def test_a_job_gets_the_first_limit_that_it_fits_in(nodes, minutes):
    assert site_with().walltime_min(nodes) == minutes


@pytest.mark.parametrize(
    "master, minutes, margin_sec",
    [
        ({}, 120, 600),
        ({"walltime_min": 1440}, 1440, 600),
        ({"walltime_min": 10}, 10, 60),
        ({"margin_sec": 900}, 120, 900),
    ],
)
def test_a_master_job_asks_for_what_a_run_on_one_node_does_unless_it_has_its_own(master, minutes, margin_sec):
    site = site_with(master=master)
    assert (site.master_walltime_min, site.master_margin_sec) == (minutes, margin_sec)


def test_a_job_that_is_too_large_for_all_limits_is_refused_in_one_line():
    with pytest.raises(SiteError) as refused:
        launch_plan(site_with(), Where(93, 6))
    assert refused.value.lines == ["93 nodes are too many: walltime in site.yaml ends at up_to_nodes 92"]


@pytest.mark.parametrize(
    "where, line",
    [
        (Where(2, 1), "placement.nodes: 2 nodes, and launcher local starts ranks on one only"),
        (Where(1, 7), "placement.ranks_per_node: 7 ranks need a GPU each; a node has 6"),
    ],
)
def test_a_place_that_a_site_does_not_have_is_refused_in_one_line(where, line):
    with pytest.raises(SiteError) as refused:
        rule_resources(site_with(launcher="local"), where)
    assert refused.value.lines == [line]


def test_a_run_that_leaves_gpus_of_its_node_gets_a_share_of_it():
    site = site_with(node={"gpus": 6, "cores": 42, "slots": 84, "memory_gb": 512})
    share = site.share(Where(1, 2))
    assert (share.cores, share.gpus, share.slots, share.memory_gb, share.whole) == (14, 2, 28, 170, False)
    share = site.share(Where(2, 2))
    assert (share.cores, share.gpus, share.slots, share.memory_gb, share.whole) == (42, 2, 84, 512, True)


def test_ranks_on_cpus_have_all_cores_of_their_node():
    plan = launch_plan(site_with(node={"cores": 8}), Where(1, 2))
    assert (plan.cores_per_node, plan.gpus_per_node, plan.cores_per_rank) == (8, 0, 4)


def test_a_plan_has_the_facts_of_the_site():
    site = site_with(setup=["module load a"], environment={"A": 1}, python="/env/python", launcher_options=["--tag"])
    plan = launch_plan(site, Where(40, 6))
    assert (plan.launcher, plan.nodes, plan.ranks_per_node, plan.bind) == ("mpirun", 40, 6, True)
    assert (plan.setup, plan.environment, plan.options) == (("module load a",), (("A", "1"),), ("--tag",))
    assert plan.python == "/env/python"


def test_in_a_container_the_interpreter_is_python3_unless_the_site_has_another():
    assert launch_plan(site_with(container={"image": "/a.sif"}), Where(1, 6)).python == "python3"
    assert launch_plan(site_with(container={"image": "/a.sif"}, python="/opt/py"), Where(1, 6)).python == "/opt/py"


def test_a_single_rank_in_slurm_needs_no_launcher():
    slurm = site_with(scheduler="slurm", launcher="srun")
    assert launch_plan(slurm, Where(1, 1)).launcher == "local"
    assert launch_plan(slurm, Where(1, 2)).launcher == "srun"


def test_ranks_are_bound_to_cores_on_whole_nodes_of_a_cluster_only():
    assert not launch_plan(site_with(), Where(1, 2)).bind
    assert launch_plan(site_with(), Where(1, 6)).bind
    assert not launch_plan(Site(launcher="mpirun"), Where(1, 1)).bind


@pytest.mark.parametrize(
    "study, site, command, placement",
    [
        ({}, {}, {}, {"ranks_per_node": 6}),
        (None, {}, None, {"ranks_per_node": 6}),
        ({"max_nodes": 2, "zero_stage": 1}, {}, {}, {"max_nodes": 2, "zero_stage": 1, "ranks_per_node": 6}),
        ({"max_nodes": 2}, {"max_nodes": 8}, {}, {"max_nodes": 8, "ranks_per_node": 6}),
        ({"nodes": 2}, {"max_nodes": 8}, {}, {"nodes": 2, "max_nodes": 8, "ranks_per_node": 6}),
        ({"nodes": 2}, {"nodes": [4, 8]}, {}, {"nodes": [4, 8], "ranks_per_node": 6}),
        ({"nodes": 2}, {"nodes": 4}, {"max_nodes": 8}, {"max_nodes": 8, "ranks_per_node": 6}),
        ({"max_nodes": 2}, {"max_nodes": 8}, {"nodes": 5}, {"nodes": 5, "max_nodes": 8, "ranks_per_node": 6}),
        ({"ranks_per_node": 2}, {"ranks_per_node": 3}, {}, {"ranks_per_node": 3}),
        ({"ranks_per_node": None}, {}, {}, {"ranks_per_node": 6}),
        ({"device": "cpu"}, {}, {}, {"device": "cpu", "ranks_per_node": 1}),
        ({"device": "cpu"}, {"device": "cuda"}, {}, {"device": "cuda", "ranks_per_node": 6}),
        ({"nodez": 2}, {}, {}, {"nodez": 2, "ranks_per_node": 6}),
    ],
)
def test_the_command_line_wins_over_the_site_and_the_site_over_the_study(study, site, command, placement):
    assert placement_of(study, site_with(placement=site), command) == placement


def test_a_placement_that_is_no_mapping_is_left_for_the_study_to_refuse():
    assert placement_of([3], site_with()) == [3]
    assert placement_of({}, site_with(), "nodes") == "nodes"


def test_the_site_of_a_profile_is_looked_for_where_snakemake_looks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    for folder in ("home/snakemake/lsf", "profiles/lsf", "lsf"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "site.yaml").touch()
        found = site_of_profile("lsf")
        assert found.resolve() == tmp_path / folder / "site.yaml"
    with pytest.raises(SiteError) as refused:
        site_of_profile("pbs")
    assert refused.value.lines == [f"profile pbs: no site.yaml in pbs, profiles/pbs, {tmp_path}/home/snakemake/pbs"]


def test_the_profile_of_lsf_is_found_by_its_bare_name():
    assert (ROOT / "lsf").is_symlink()
    assert (ROOT / "lsf").readlink() == Path("profiles/lsf")


@pytest.mark.parametrize(("gpus", "ranks", "at_a_time"), [(0, 1, 16), (0, 2, 8), (4, 1, 4), (4, 2, 2), (4, 4, 1)])
def test_on_one_machine_as_many_runs_at_a_time_as_cores_or_gpus(gpus, ranks, at_a_time):
    here = Site.model_validate({"node": {"cores": 16, "gpus": gpus}})
    place = place_on(here, Where(1, ranks))
    assert 16 // place.threads == at_a_time
    assert place.plan.gpus_per_node == (ranks if gpus else 0)
    assert place.plan.shares_node
