"""`warmscale submit`: what is submitted, what is refused in one line, and what a master job does at its end."""

import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.unit.study_builders import ROOT
from warmscale import cli, lease
from warmscale.cluster import batch, resubmission
from warmscale.cluster.chain import Chain
from warmscale.cluster.job_shell import FIND_CACHES
from warmscale.cluster.resubmission import Supervisor
from warmscale.cluster.site import Site, load_site
from warmscale.records import read_json, write_json

RESULTS = Path("results/digits")
WORDS = ["--profile", "lsf", "--configfile", "config/digits.yaml"]
NODE = {"node": {"cores": 2}, "walltime": [{"up_to_nodes": 1, "minutes": 60}]}
LSF = {"scheduler": "lsf", "queue": "gpu", "project": "P1", "extra": ["-gpu", "num=1"], **NODE}
SLURM = {"scheduler": "slurm", "queue": "gpu", "qos": "long", "constraint": "v100", "project": "P1", **NODE}
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
JOB = batch.SmallJob("digits:master", Path("/r/master.log"), Path("/w"), "run it")


class Scheduler:
    """Commands on the PATH that write their words down and answer as they are told."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()

    def answer(self, command: str, text: str, code: int = 0) -> None:
        """What a command says from now on."""
        path = self.folder / command
        path.write_text(
            f'#!/bin/sh\necho "$@" >> {self.folder}/{command}.calls\necho {shlex.quote(text)}\nexit {code}\n'
        )
        path.chmod(0o755)

    def calls(self, command: str) -> list[str]:
        """The words of each call."""
        path = self.folder / f"{command}.calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    """LSF that takes jobs and knows none; and a checkout as the current folder."""
    made = Scheduler(tmp_path / "bin")
    made.answer("bsub", "Job <7> is submitted to default queue <normal>.")
    made.answer("bjobs", "Job <7> is not found", code=255)
    made.answer("bkill", "Job <8> is being terminated")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    for name in ("config", "profiles", "lsf"):
        (tmp_path / name).symlink_to(ROOT / name)
    return made


def refused(capsys, *words):
    assert cli.main(["submit", *words]) == 1
    return capsys.readouterr().err.removeprefix("warmscale: ").removesuffix("\n")


def option(words, name):
    return words[words.index(name) + 1]


def test_on_lsf_it_is_one_slot_without_a_gpu_that_runs_again_where_its_host_fails():
    words = batch.submission(Site.model_validate(LSF), JOB)
    assert (option(words, "-n"), option(words, "-W"), option(words, "-q"), option(words, "-P")) == (
        "1",
        "60",
        "gpu",
        "P1",
    )
    assert {"-gpu", "-R", "-w"}.isdisjoint(words) and "-r" in words
    assert (option(words, "-o"), words[-1]) == ("/r/master.log", f"cd /w || exit; {FIND_CACHES}; run it")


def test_on_slurm_it_is_one_task_without_what_runs_ask_for():
    words = batch.submission(Site.model_validate(SLURM), JOB)
    assert {"--ntasks=1", "--nodes=1", "--time=60", "--partition=gpu", "--qos=long", "--requeue"} <= set(words)
    assert not [word for word in words if word.startswith(("--gres", "--constraint", "--dependency", "--mem"))]
    assert words[-1] == f"{FIND_CACHES}; exec run it"


def test_a_site_has_another_queue_walltime_and_words_for_it():
    own = {"queue": "serial", "walltime_min": 10080, "memory_gb": 4, "extra": ["-G", "me"]}
    words = batch.submission(Site.model_validate(LSF | {"master": own}), JOB)
    assert (option(words, "-q"), option(words, "-W"), option(words, "-R")) == ("serial", "10080", "rusage[mem=4GB]")
    assert option(words, "-G") == "me" and "-gpu" not in words
    words = batch.submission(Site.model_validate(SLURM | {"master": own}), JOB)
    assert {"--partition=serial", "--time=10080", "--mem=4G"} <= set(words) and "--qos=long" not in words


def test_a_successor_begins_when_its_predecessor_has_ended_however():
    successor = batch.SmallJob("a", Path("l"), Path("/w"), "c", after="12")
    assert option(batch.submission(Site.model_validate(LSF), successor), "-w") == "ended(12)"
    assert "--dependency=afterany:12" in batch.submission(Site.model_validate(SLURM), successor)


def test_easy_lsf_gives_whole_nodes_only():
    words = batch.submission(load_site(ROOT / "profiles/lsf/presets/summit.yaml"), JOB)
    assert option(words, "-nnodes") == "1" and "-n" not in words


def test_jobs_submitted_from_a_job_get_nothing_of_its_environment():
    kept = {"PATH": "/bin", "LSF_ENVDIR": "/lsf", "LSB_DEFAULTQUEUE": "q", "SLURM_CONF": "/s", "LSF_SERVERDIR": "/x"}
    of_the_job = {"LSB_JOBID": "1", "LSB_HOSTS": "a", "LS_SUBCWD": "/", "SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "1"}
    assert batch.outside_of_jobs(kept | of_the_job) == kept


def test_jobs_do_not_get_the_caches_of_another_ones_node():
    kept = {"XDG_CACHE_HOME": "/shared/you/cache", "HOME": "/home/warmscale-0"}
    of_the_node = {"TRITON_CACHE_DIR": f"/tmp/job7/warmscale-{os.getuid()}/triton"}
    assert batch.outside_of_jobs(kept | of_the_node) == kept


@pytest.mark.parametrize(
    "answer, code, living",
    [("7 RUN\n8 DONE", 0, ["7"]), ("7 UNKWN\n8 PSUSP", 0, ["7", "8"]), ("Job <7> is not found", 255, [])],
)
def test_a_job_lives_until_lsf_says_that_it_ended(scheduler, answer, code, living):
    scheduler.answer("bjobs", answer, code)
    assert batch.living("lsf", ["7", "8"]) == living


def test_a_scheduler_that_does_not_answer_says_nothing_of_jobs(scheduler):
    scheduler.answer("bjobs", "LSF is down. Please wait ...", 255)
    with pytest.raises(batch.SchedulerError, match=r"^bjobs: LSF is down"):
        batch.living("lsf", ["7"])


def test_submit_notes_the_job_and_says_where_its_log_is_and_how_it_ends(scheduler, capsys):
    assert cli.main(["submit", *WORDS]) == 0
    said = capsys.readouterr().out
    assert "job 7 is submitted" in said and "bkill 7 " in said and "results/digits/logs/master.log" in said
    known = read_json(RESULTS / "master.json")
    assert (known["job_id"], known["log"], known["words"]) == ("7", "results/digits/logs/master.log", WORDS)
    [call] = scheduler.calls("bsub")
    assert call.endswith(f"-m warmscale.cluster.resubmission lsf/site.yaml results/digits 720 {shlex.join(WORDS)}")


def test_a_second_submit_is_refused_while_the_first_job_pends(scheduler, capsys):
    assert cli.main(["submit", *WORDS]) == 0
    scheduler.answer("bjobs", "7 PEND")
    capsys.readouterr()
    assert refused(capsys, *WORDS) == (
        "results/digits: job 7 is its master already (log: results/digits/logs/master.log); `bkill 7` ends it"
    )
    scheduler.answer("bjobs", "7 EXIT")
    assert cli.main(["submit", *WORDS]) == 0
    assert len(scheduler.calls("bsub")) == 2


def test_submit_is_refused_while_a_snakemake_works_on_the_study(scheduler, capsys):
    with lease.acquire(RESULTS / "master", {"job_id": None}):
        assert refused(capsys, *WORDS).startswith("results/digits: a Snakemake works on this study, held by process")
    assert scheduler.calls("bsub") == []
    assert cli.main(["submit", *WORDS]) == 0


@pytest.mark.parametrize(
    "words, line",
    [
        (["--cores", "2"], "--profile is missing, as --profile lsf: it says which batch system takes the job"),
        ([*WORDS, "-n"], f"-n: a dry run needs no job; type `snakemake {shlex.join(WORDS)} -n`"),
        ([*WORDS, "--config", "site=local.yaml"], "local.yaml: scheduler is local, and submit needs a batch system"),
        (["--profile", "lsf", "--configfile", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_submitted_is_one_line(scheduler, capsys, words, line):
    Path("local.yaml").write_text("scheduler: local\n")
    said = refused(capsys, *words)
    assert said.startswith(line) and "\n" not in said
    assert scheduler.calls("bsub") == []


def test_a_refusal_of_bsub_is_passed_on_and_leaves_no_master(scheduler, capsys):
    scheduler.answer("bsub", "RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted.", 255)
    assert refused(capsys, *WORDS) == "bsub: RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted."
    assert not (RESULTS / "master.json").exists()


def test_help_is_ours(capsys):
    assert cli.main(["submit", "-h"]) == 0
    assert "warmscale submit --profile NAME" in capsys.readouterr().out


class Sleeper(Chain):
    """A chain whose Snakemake does nothing for some time and ends as it is told."""

    code = "import time; time.sleep(60)"

    @property
    def snakemake(self):
        return [sys.executable, "-c", self.code]


@pytest.fixture
def in_job(scheduler, monkeypatch):
    """Runs the supervisor as if in job 7, whose walltime ends in so many seconds, with fast clocks."""
    before = {number: signal.getsignal(number) for number in ENDING}
    monkeypatch.setenv("LSB_JOBID", "7")
    monkeypatch.setattr(resubmission, "POLL_SEC", 0.02)
    monkeypatch.setattr(resubmission, "RETRY_SEC", 0.1)
    monkeypatch.setattr(resubmission, "CANCEL_SEC", 0.5)
    site = Site.model_validate(LSF | {"master": {"walltime_min": 60, "margin_sec": 60}})

    def run(ends_in_sec: float, code: str = Sleeper.code, signal_sent: int = 0, after_sec: float = 0.3) -> int:
        monkeypatch.setattr(resubmission, "job_ends", lambda *_: time.time() + ends_in_sec)
        monkeypatch.setattr(Sleeper, "code", code)
        supervisor = Supervisor(Sleeper(site, Path("lsf/site.yaml"), RESULTS, WORDS), walltime_min=60)
        timer = threading.Timer(after_sec, os.kill, [os.getpid(), signal_sent])
        if signal_sent:
            timer.start()
        try:
            return supervisor.run()
        finally:
            timer.cancel()

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def test_near_the_walltime_a_successor_is_submitted_and_noted(scheduler, in_job, capfd):
    scheduler.answer("bsub", "Job <8> is submitted to queue <normal>.")
    assert in_job(ends_in_sec=59) == 0
    [call] = scheduler.calls("bsub")
    assert "-w ended(7)" in call
    assert read_json(RESULTS / "master.json")["job_id"] == "8"
    assert scheduler.calls("bkill") == []
    assert "job 8 goes on when this one has ended" in capfd.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_warning_of_the_batch_system_is_a_walltime(scheduler, in_job, number):
    assert in_job(ends_in_sec=3600, signal_sent=number) == 0
    assert len(scheduler.calls("bsub")) == 1


def test_a_successor_that_nobody_takes_is_tried_again_and_given_up_at_last(scheduler, in_job, capfd):
    scheduler.answer("bsub", "LSF is down. Please wait ...", 255)
    assert in_job(ends_in_sec=32) == 1
    assert len(scheduler.calls("bsub")) > 1
    said = capfd.readouterr().out
    assert "no successor could be submitted (bsub: LSF is down. Please wait ...)" in said
    assert f"`warmscale submit {shlex.join(WORDS)}` takes them over" in said


@pytest.mark.parametrize(
    "code, ends_as", [("", 0), ("import sys; sys.exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_when_snakemake_ends_the_chain_ends_with_its_exit_code_and_the_standing(
    scheduler, in_job, capfd, code, ends_as
):
    assert in_job(ends_in_sec=3600, code=code) == ends_as
    said = capfd.readouterr().out
    assert f"Snakemake has ended with exit code {ends_as}; no successor" in said and "results/digits: 0 runs" in said
    assert scheduler.calls("bsub") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_the_job_ends_snakemake_and_what_it_has_not_adopted(scheduler, in_job, number):
    for run_id, job_id in {"a": "21", "b": "22", "c": "23"}.items():
        write_json(RESULTS / "state" / run_id / "job.json", {"scheduler": "lsf", "job_id": job_id})
    (RESULTS / "state/c/outcome.json").touch()
    scheduler.answer("bjobs", "21 RUN\n22 EXIT")
    assert in_job(ends_in_sec=3600, signal_sent=number) == 130
    assert scheduler.calls("bkill") == ["21"]
    assert scheduler.calls("bsub") == []
    assert "23" not in scheduler.calls("bjobs")[-1]


def test_snakemake_that_is_being_ended_by_the_user_during_a_handover_has_no_successor(scheduler, in_job, monkeypatch):
    monkeypatch.setattr(resubmission, "SETTLE_SEC", 5.0)
    monkeypatch.setattr(resubmission, "QUIET_POLLS", 10**6)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    scheduler.answer("bsub", "Job <8> is submitted to queue <normal>.")
    assert in_job(ends_in_sec=61, code=stubborn, signal_sent=signal.SIGINT, after_sec=1.8) == 130
    assert len(scheduler.calls("bsub")) == 1
    assert scheduler.calls("bkill") == ["8"]


def test_the_study_of_a_config_with_results_elsewhere_is_found(scheduler, capsys):
    Path("site.yaml").write_text(yaml.safe_dump(LSF | {"results": "far"}))
    assert cli.main(["submit", *WORDS, "--config", "site=site.yaml"]) == 0
    assert read_json(Path("far/digits/master.json"))["job_id"] == "7"
    assert "warmscale status --study digits --results far --watch" in capsys.readouterr().out
