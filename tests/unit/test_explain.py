"""`warmscale explain`: where a run goes and what is typed for it, and one line for what cannot be explained."""

import shlex
from pathlib import Path

import pytest
import yaml

from tests.unit.study_builders import ROOT, read_config
from warmscale import cli
from warmscale.records import write_atomic, write_json
from warmscale.study import load_study
from warmscale.study.planned import FACTS, PLAN, digest

POSTER = load_study(read_config("config"))
BEGINNINGS = {"first": "mb30720-w240-lr12-up204-s1", "of 60 workers": "mb7680-w60-lr3-up829-s1"}
RUNS = {name: next(run_id for run_id in POSTER.runs if run_id.startswith(start)) for name, start in BEGINNINGS.items()}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the poster's config and all profiles, and a host outside of any job."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    for name in ("LSB_HOSTS", "LSB_MCPU_HOSTS", "LSB_DJOB_HOSTFILE", "LSB_JOBID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def explain(capsys, *words):
    """Lines about the run that stands before a `# heading`, and the text below each heading."""
    assert cli.main(["explain", *words]) == 0, capsys.readouterr().err
    facts, *sections = capsys.readouterr().out.split("\n\n# ")
    return dict(line.split(maxsplit=1) for line in facts.replace("each ", "each_").splitlines()), dict(
        section.split("\n", 1) for section in sections
    )


def refused(capsys, *words):
    assert cli.main(["explain", *words]) == 1
    return capsys.readouterr().err.removeprefix("warmscale: ").removesuffix("\n")


def test_the_posters_run_goes_to_40_nodes_of_an_lsf_cluster(checkout, capsys):
    facts, sections = explain(capsys, RUNS["first"], "--profile", "lsf")
    assert facts["where"] == "40 nodes x 6 ranks = 240"
    assert facts["each_rank"] == "1 worker of 240, so 1 batch of 128 images a step"
    assert facts["walltime"].startswith("720 min; a run pauses 120 s before")
    assert facts["study"] == "poster, baseline, warmup-30k, lr-scaling-30k"
    words = shlex.split(sections["what is submitted"])
    assert words[:3] == ["bsub", "-J", f"poster:{RUNS['first']}"]
    assert words[words.index("-n") :][:4] == ["-n", "1680", "-R", "span[ptile=42]"]
    assert words[-1].endswith(f"-- results/poster/runs/{RUNS['first']}/run.json")
    started, _, others = sections["what starts the ranks, on the first host of the job"].partition("  # ")
    assert shlex.split(started)[:4] == ["blaunch", "-z", "HOST1", "bash"]
    assert shlex.split(started)[-3:] == ["0", "HOST1", "PORT"]
    assert others == "and so on, to 39 on HOST40"
    script = sections[f"results/poster/state/{RUNS['first']}/rank.sh"]
    assert shlex.split(script.splitlines()[-1])[0] == "exec"
    assert f"--run {RUNS['first']}" in script


def test_on_fewer_nodes_each_rank_carries_out_several_workers_in_turn(checkout, capsys):
    facts, sections = explain(capsys, RUNS["first"], "--profile", "lsf", "--nodes", "20")
    assert facts["where"] == "20 nodes x 6 ranks = 120"
    assert facts["each_rank"] == "2 workers of 240, so 2 batches of 128 images a step"
    assert "train:nodes=20" in sections["what is submitted"]


def plan(*rows):
    """A plan of the poster's study that is in force."""
    text = "\n".join(["run_id,decision,nodes,ranks_per_node,walltime_min,priority", *rows]) + "\n"
    write_atomic(Path("results/poster", PLAN), text)
    write_json(Path("results/poster", FACTS), {"fingerprint": "a-b", "digest": digest(text.encode())})


def test_a_planned_run_goes_where_the_plan_has_it(checkout, capsys):
    run, other = RUNS["first"], RUNS["of 60 workers"]
    plan(f"{run},planned,20,6,95,7", f"{other},left_out,10,6,90,0")
    facts, sections = explain(capsys, run, "--profile", "lsf")
    assert facts["plan"] == "planned, priority 7; nodes and walltime are the plan's"
    assert facts["where"] == "20 nodes x 6 ranks = 120"
    assert facts["walltime"].startswith("95 min; a run pauses")
    words = shlex.split(sections["what is submitted"])
    assert words[words.index("-W") + 1] == "95"
    assert words[words.index("-n") + 1] == str(20 * 42)
    facts, sections = explain(capsys, run, "--profile", "lsf", "--nodes", "40")
    assert facts["plan"] == "planned, priority 7; but --nodes has the last word"
    assert facts["where"] == "40 nodes x 6 ranks = 240"
    assert facts["walltime"].startswith("720 min")
    words = shlex.split(sections["what is submitted"])
    assert words[words.index("-W") + 1] != "95"


def test_a_run_that_is_not_planned_says_so(checkout, capsys):
    run, other = RUNS["first"], RUNS["of 60 workers"]
    assert "plan" not in explain(capsys, run, "--profile", "lsf")[0]
    plan(f"{run},left_out,20,6,95,0", f"{other},finished,,,,0")
    facts, _ = explain(capsys, run, "--profile", "lsf")
    assert facts["plan"] == "left out: no call carries it out as long as the plan is in force"
    assert facts["where"] == "40 nodes x 6 ranks = 240"
    assert explain(capsys, other, "--profile", "lsf")[0]["plan"] == "done before it was made"


def test_a_damaged_plan_is_one_line(checkout, capsys):
    plan(f"{RUNS['first']},planned,20,6,95,7")
    Path("results/poster", FACTS).unlink()
    line = refused(capsys, RUNS["first"], "--profile", "lsf")
    assert line.startswith("results/poster/plan/plan.csv: is not the plan that was written there") and "\n" not in line


def test_summits_style_is_explained_from_its_site_file(checkout, capsys):
    preset = "profiles/lsf/presets/summit-apptainer.yaml"
    facts, sections = explain(capsys, RUNS["of 60 workers"], "--site", preset)
    assert facts["where"] == "10 nodes x 6 ranks = 60"
    assert "-nnodes 10 -alloc_flags 'smt1 nvme'" in sections["what is submitted"]
    assert sections["what starts the ranks, on the first host of the job"].startswith("jsrun -n 10 -r 1 -a 6 -g 6")
    assert "exec apptainer exec --nv" in sections[f"results/poster/state/{RUNS['of 60 workers']}/rank.sh"]


def test_slurm_is_explained_with_sbatch_and_srun(checkout, capsys):
    _, sections = explain(capsys, RUNS["first"], "--profile", "slurm")
    assert sections["what is submitted"].startswith("sbatch --parsable --job-name")
    assert sections["what starts the ranks, on the first host of the job"].startswith("srun --nodes 40 --ntasks 240")


def test_on_this_machine_nothing_is_submitted(checkout, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (checkout / "site.yaml").write_text("node: {gpus: 0}\n")
    facts, sections = explain(capsys, RUNS["first"], "--site", "site.yaml")
    assert facts["where"] == "1 node x 1 rank = 1"
    assert facts["walltime"] == "none"
    assert "what is submitted" not in sections
    assert sections["what starts the ranks, here"].startswith("RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 bash results/poster")


def test_a_run_may_be_named_by_the_beginning_of_its_id(checkout, capsys):
    facts, _ = explain(capsys, BEGINNINGS["first"], "--profile", "lsf")
    assert facts["run"] == RUNS["first"]


def test_a_beginning_of_several_runs_is_refused(checkout, capsys):
    line = refused(capsys, "mb30720", "--profile", "lsf")
    assert line.startswith("mb30720 is the beginning of ")
    assert "\n" not in line


def test_an_unknown_run_is_one_line_with_the_nearest_known_one(checkout, capsys):
    wrong = RUNS["first"].replace("lr12", "lr21")
    assert refused(capsys, wrong) == f"{wrong} is no run of poster; did you mean {RUNS['first']}?"
    assert refused(capsys, "xyz") == f"xyz is no run of poster; one of its 39 is {next(iter(POSTER.runs))}"


def test_what_cannot_be_explained_is_said_in_one_line(checkout, capsys):
    (checkout / "site.yaml").write_text("scheduller: lsf\n")
    (checkout / "study.yaml").write_text(yaml.safe_dump(read_config("config") | {"sed": 1}))
    run, lsf = RUNS["first"], ("--profile", "lsf")
    assert refused(capsys, run, "--profile", "pbs").startswith("profile pbs: no site.yaml in pbs, profiles/pbs, ")
    assert refused(capsys, run, "--site", "none.yaml") == "none.yaml: cannot be read: No such file or directory"
    assert refused(capsys, run, "--site", "site.yaml") == (
        "site.yaml: scheduller: is not a known key: did you mean scheduler?"
    )
    assert refused(capsys, run, "--configfile", "study.yaml").startswith("study.yaml: sed: is not a known key")
    (checkout / "study.yaml").write_text("study: theirs\nreplay: {runs: theirs.csv}\n")
    assert refused(capsys, run, "--configfile", "study.yaml") == (
        "study.yaml: replay: study theirs trains nothing, so it has no runs to start"
    )
    assert refused(capsys, run, *lsf, "--nodes", "7") == (
        "placement.nodes: 7 nodes of 6 ranks do not divide 240 workers equally; the next counts that do: 5 and 8"
    )
    assert refused(capsys, run, *lsf, "--nodes", "0") == "--nodes is 0, must be at least 1"
    assert refused(capsys, RUNS["first"], "--site", "profiles/slurm/site.yaml", "--nodes", "80") == (
        "placement.nodes: 80 nodes of 6 ranks do not divide 240 workers equally; the next count that does: 40, "
        "or placement.ranks_per_node: 3"
    )
