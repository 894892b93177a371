"""The double of LSF does what the real one does, as far as this project meets it."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lsf_double import bsub
from tests.lsf_double.cluster import Cluster
from tests.lsf_double.dependencies import fulfilled
from tests.lsf_double.faults import take_fault
from tests.lsf_double.job import Job, Request
from tests.lsf_double.processes import job_processes
from tests.lsf_double.requirements import requeues
from tests.lsf_double.store import LsfError

pytestmark = pytest.mark.timeout(120)

# Says which signals it gets, and ends at the one named first.
LISTENER = """
import signal, sys, time
last = sys.argv[1]
def on(number, _):
    print("got", signal.Signals(number).name, flush=True)
    if signal.Signals(number).name == last:
        sys.exit(int(sys.argv[2]))
for name in ("SIGUSR2", "SIGINT", "SIGTERM", "SIGURG"):
    signal.signal(getattr(signal, name), on)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""

HEART = """
import sys, time
while True:
    print(file=open(sys.argv[1], "a"))
    time.sleep(0.02)
"""


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "lsf", minute_sec=0.5, grace_sec=0.3, kill_interval_sec=0.3) as cluster:
        yield cluster


@pytest.fixture
def listener(tmp_path):
    """Command line of a program that says which signals it gets."""
    path = tmp_path / "listener.py"
    path.write_text(LISTENER)
    return f"{sys.executable} -I -S {path}"


def log_option(cluster):
    return ("-o", str(cluster.store.folder / "%J.log"))


def ready(cluster, job_id, text="ready"):
    cluster.wait(job_id, "RUN")
    cluster.wait_for(lambda: text in cluster.log(job_id), f"{text!r} in the log of {job_id}")


def got(cluster, job_id):
    return [line.split()[1] for line in cluster.log(job_id).splitlines() if line.startswith("got")]


def refusal(cluster, *words, **options):
    result = cluster.run("bsub", *words, **options)
    assert (result.returncode, result.stdout) == (255, "")
    return result.stderr


def processes(cluster, job_id):
    return [pid for pid, _ in job_processes(cluster.store, job_id)]


def test_a_command_is_submitted_runs_and_is_done(cluster):
    words = ["-J", "a name", *log_option(cluster), "-env", "all", "-n", "1", "echo", "one  two;", "echo $LSB_JOBID"]
    result = cluster.run("bsub", *words)
    assert result.stdout == "Job <101> is submitted to default queue <normal>.\n"
    job = cluster.wait(101)
    assert (job.state, job.exit_code, job.name, job.words, job.times_run) == ("DONE", 0, "a name", tuple(words), 1)
    assert job.submitted <= job.started <= job.ended
    # the words are joined and given to a shell
    assert cluster.log(101).startswith("one two\n101\n")
    assert "\nSuccessfully completed.\n" in cluster.log(101)
    assert cluster.calls("bsub") == [words]


def test_a_failing_command_keeps_its_exit_code(cluster):
    job_id = cluster.submit(*log_option(cluster), "sh -c 'exit 7'")
    assert cluster.wait(job_id).exit_code == 7
    assert "\nExited with exit code 7.\n" in cluster.log(job_id)
    shown = cluster.run("bjobs", "-noheader", "-o", "jobid stat exit_code exec_host delimiter=';'", str(job_id))
    assert shown.stdout == f"{job_id};EXIT;7;127.0.0.1\n"


def test_a_script_from_standard_input_brings_its_options(cluster):
    options = f"#BSUB -J scripted\n#BSUB -n 2  # slots\n#BSUB -o {cluster.store.folder}/s.log\n"
    script = f"#!/bin/bash\n{options}[[ a == a ]] && echo $LSB_HOSTS\n"
    job = cluster.wait(cluster.submit("-J", "won", input=script))
    assert (job.name, job.exit_code) == ("won", 0)
    assert cluster.log(job.id).startswith("127.0.0.1 127.0.0.1\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-unheard", "true"], "Illegal option -- unheard"),
        (["-nnodes", "2", "true"], "Illegal option -- nnodes"),
        (["-q", "fast", "true"], "fast: No such queue. Job not submitted."),
        (["-n", "0", "true"], "Bad argument for option -n"),
        (["-n", "two", "true"], "Bad argument for option -n"),
        (["-n", "8,4", "true"], "Bad argument for option -n"),
        (["-W", "ten", "true"], "Bad argument for option -W"),
        (["-W", "0", "true"], "Bad argument for option -W"),
        (["-W", "61", "-q", "short", "true"], "RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted."),
        (["-R", "span[ptile=0]", "true"], "Bad resource requirement syntax. Job not submitted."),
        (["-R", "span[ptile=2", "true"], "Bad resource requirement syntax"),
        (["-R", "spam[ptile=2]", "true"], "Bad resource requirement syntax"),
        (["-R", "rusage[mem]", "true"], "Bad resource requirement syntax"),
        (["-R", "span[hosts=1]", "-R", "span[ptile=1]", "true"], "Bad resource requirement syntax"),
        (["-gpu", "num=none", "true"], "Bad GPU resource requirement"),
        (["-Q", "often", "true"], "bad requeue exit values"),
        (["-w", "done(999)", "true"], "999: No matching job found. Job not submitted."),
        (["-w", "done(", "true"], "Dependency condition syntax error. Job not submitted."),
        (["-wa", "NONE", "true"], "Bad argument for option -wa"),
        (["-J", "x" * 4095, "true"], "Job name is too long. Job not submitted."),
        (["-J", "many[1-9]", "true"], "Job arrays are not modelled"),
        (["-J", "nothing"], "No command is specified. Job not submitted."),
        (["-n"], "Option -n requires an argument"),
    ],
)
def test_what_lsf_refuses_is_refused(refusing, words, message, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(LsfError, match=re.escape(message)):
        bsub.main(refusing.store, words)
    assert refusing.jobs() == []


def test_a_refusal_goes_to_standard_error_with_255(refusing):
    assert refusal(refusing, "-q", "fast", "true") == "fast: No such queue. Job not submitted.\n"
    assert refusal(refusing, "-J", "nothing") == "No command is specified. Job not submitted.\n"


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("refusing") / "lsf", queues={"normal": None, "short": 60}) as cluster:
        yield cluster


def test_what_the_lsf_plugin_writes_is_accepted(cluster):
    words = ["-P", "p", "-q", "normal", "-W", "10", "-n", "4", "-R", "rusage[mem=1000.0]", "-R", "span[ptile=2]"]
    job = cluster.wait(cluster.submit(*words, "-gpu", "num=2:mode=exclusive_process", "-cwd", "/tmp", "pwd"))
    assert job.hosts == ("127.0.0.1",) * 2 + ("127.0.0.2",) * 2
    assert job.request.cwd == "/tmp"


def test_the_environment_names_the_hosts(cluster):
    command = "echo $LSB_HOSTS, $LSB_MCPU_HOSTS, $LSB_DJOB_NUMPROC, $A, $B, $LSB_JOBNAME; cat $LSB_DJOB_HOSTFILE"
    words = ["-n", "3", "-R", "span[ptile=2]", "-env", "all, ~A, B=2", "-J", "named"]
    outside = cluster.environment({**os.environ, "A": "1", "LSB_HOSTS": "another job's"})
    job = cluster.wait(cluster.submit(*words, *log_option(cluster), command, env=outside))
    expected = (
        "127.0.0.1 127.0.0.1 127.0.0.2, 127.0.0.1 2 127.0.0.2 1, 3, , 2, named\n127.0.0.1\n127.0.0.1\n127.0.0.2\n"
    )
    assert cluster.log(job.id).startswith(expected)


def test_a_job_waits_for_slots_and_starts_when_they_are_free(cluster):
    first = cluster.submit("-n", "7", "sleep 60")
    second = cluster.submit("-n", "2", "true")
    small = cluster.submit("-n", "1", "true")
    impossible = cluster.submit("-n", "9", "true")
    # one that has to wait holds up no other
    assert cluster.wait(small).state == "DONE"
    assert [cluster.job(job).state for job in (first, second, impossible)] == ["RUN", "PEND", "PEND"]
    cluster.run("bkill", str(first))
    assert cluster.wait(second).state == "DONE"
    assert cluster.job(second).started >= cluster.job(first).ended
    assert cluster.job(impossible).state == "PEND"


def test_many_jobs_submitted_at_once_never_share_slots(tmp_path):
    with Cluster(tmp_path / "lsf", hosts=1, slots_per_host=2) as cluster:
        environment = cluster.environment()
        running = [
            subprocess.Popen(["bsub", "sleep 0.1"], env=environment, stdout=subprocess.DEVNULL) for _ in range(8)
        ]
        assert [process.wait(30) for process in running] == [0] * 8
        cluster.wait_for(lambda: all(job.state == "DONE" for job in cluster.jobs()), "8 jobs done")
        spans = [(job.started, job.ended) for job in cluster.jobs()]
        assert len({job.id for job in cluster.jobs()}) == 8
        assert max(sum(start <= moment < end for start, end in spans) for moment, _ in spans) == 2


def test_priority_goes_first_and_exclusive_jobs_have_a_host_alone(tmp_path):
    with Cluster(tmp_path / "lsf", hosts=1, slots_per_host=2, kill_interval_sec=0.1) as cluster:
        first = cluster.submit("sleep 60")
        exclusive = cluster.submit("-x", "-sp", "5", "true")
        later = cluster.submit("-n", "2", "true")
        assert cluster.job(exclusive).state == "PEND"
        cluster.run("bkill", str(first))
        cluster.wait(later)
        assert cluster.job(exclusive).ended <= cluster.job(later).started


def test_dependencies_hold_a_job_back(cluster, tmp_path):
    fails = cluster.submit(f"until test -e {tmp_path}/go; do sleep 0.02; done; exit 1")
    after = cluster.submit("-w", f"ended({fails})", "true")
    never = cluster.submit("-w", f"done({fails})", "true")
    assert cluster.job(after).state == "PEND"
    (tmp_path / "go").touch()
    assert cluster.wait(after).started >= cluster.job(fails).ended
    assert cluster.job(never).state == "PEND"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("done(1)", True),
        ("1", True),
        ("done(1) && done(2)", False),
        ("done(1) && !(done(2) || started(3))", True),
        ("exit(2, 75)", True),
        ("exit(2,>75)", False),
        ('ended("train*")', True),
        ('done("train*")', False),
    ],
)
def test_dependency_expressions(expression, value):
    jobs = [
        Job(1, (), Request(name="train 1"), "DONE", exit_code=0),
        Job(2, (), Request(name="train 2"), "EXIT", exit_code=75),
        Job(3, (), Request(name="other")),
    ]
    assert fulfilled(expression, jobs) is value


@pytest.mark.parametrize("expression", ["done(1) done(1)", "&&", "(done(1)", "lost(1)", "done(1,3)"])
def test_bad_dependency_expressions(expression):
    with pytest.raises(LsfError, match="syntax"):
        fulfilled(expression, [Job(1, (), Request())])


def test_run_limit_sends_usr2_first_and_kills_last(cluster, listener):
    job_id = cluster.submit("-W", "2", *log_option(cluster), f"{listener} none 0")
    job = cluster.wait(job_id)
    assert got(cluster, job_id) == ["SIGUSR2", "SIGINT", "SIGTERM"]
    assert (job.state, job.exit_code, job.reason) == ("EXIT", 137, "TERM_RUNLIMIT")
    assert "TERM_RUNLIMIT: job killed after reaching LSF run time limit.\nExited with exit code 137." in cluster.log(
        job_id
    )
    # 1 s limit, 0.3 s grace, 2 intervals of 0.3 s
    assert job.ended - job.started >= 1.9


def test_a_job_that_ends_with_0_after_usr2_is_done(cluster, listener):
    # as sbatchd: the state follows from the exit code alone
    job = cluster.wait(cluster.submit("-W", "2", *log_option(cluster), f"{listener} SIGUSR2 0"))
    assert (got(cluster, job.id), job.state, job.exit_code) == (["SIGUSR2"], "DONE", 0)


def test_run_limit_ends_a_job_that_does_not_handle_usr2_with_140(cluster):
    job = cluster.wait(cluster.submit("-W", "0:01", *log_option(cluster), "sleep 60"))
    assert (job.state, job.exit_code, job.reason) == ("EXIT", 140, "TERM_RUNLIMIT")
    assert "Exited with exit code 140." in cluster.log(job.id)


def test_warning_comes_before_the_run_limit(cluster, listener):
    words = ["-W", "30", "-wt", "28", "-wa", "URG"]
    job_id = cluster.submit(*words, *log_option(cluster), f"{listener} SIGURG 3")
    job = cluster.wait(job_id)
    assert (got(cluster, job_id), job.exit_code, job.reason) == (["SIGURG"], 3, "")
    assert 1.0 <= job.ended - job.started < 10


def test_requeue_exit_code_runs_the_same_job_again(cluster, tmp_path):
    command = f"echo run >> {tmp_path}/runs; test $(wc -l < {tmp_path}/runs) = 3 || exit 75"
    job = cluster.wait(cluster.submit("-Q", "75", *log_option(cluster), command))
    assert (job.state, job.times_run, len(cluster.jobs())) == ("DONE", 3, 1)
    # no report of a run that is repeated
    assert cluster.log(job.id).count("Sender: LSF System") == 1


def test_requeue_lists():
    assert [requeues("all ~1 EXCLUDE(9)", code) for code in (0, 1, 2, 9)] == [False, False, True, True]
    assert [requeues("75 99", code) for code in (75, 99, 1)] == [True, True, False]


def test_bkill_sends_int_term_and_kill(cluster, listener):
    job_id = cluster.submit("-Q", "137", *log_option(cluster), f"{listener} none 0")
    ready(cluster, job_id)
    result = cluster.run("bkill", str(job_id), "999")
    assert (result.returncode, result.stdout) == (255, f"Job <{job_id}> is being terminated\n")
    assert result.stderr == "Job <999>: No matching job found\n"
    job = cluster.wait(job_id)
    assert got(cluster, job_id) == ["SIGINT", "SIGTERM"]
    # a killed job is not requeued
    assert (job.state, job.exit_code, job.times_run) == ("EXIT", 137, 1)
    assert "TERM_OWNER: job killed by owner.\n" in cluster.log(job_id)
    assert cluster.run("bkill", str(job_id)).stderr == f"Job <{job_id}>: Job has already finished\n"


def test_bkill_ends_pending_jobs_at_once_and_all_with_0(cluster):
    running = cluster.submit("-n", "8", "-J", "big", "sleep 60")
    pending = [cluster.submit("-J", f"small-{number}", "sleep 60") for number in (1, 2)]
    assert cluster.run("bkill", "-J", "small-*", "0").returncode == 0
    assert [cluster.job(job).state for job in pending] == ["EXIT", "EXIT"]
    assert cluster.run("bkill", "0").stdout == f"Job <{running}> is being terminated\n"
    assert cluster.wait(running).exit_code == 130
    result = cluster.run("bkill", "0")
    assert (result.returncode, result.stderr) == (255, "Job <0>: No matching job found\n")


def test_bkill_with_a_signal_sends_just_that(cluster, listener):
    job_id = cluster.submit(*log_option(cluster), f"{listener} SIGTERM 5")
    ready(cluster, job_id)
    cluster.run("bkill", "-s", "USR2", str(job_id))
    cluster.wait_for(lambda: got(cluster, job_id) == ["SIGUSR2"], "SIGUSR2")
    cluster.run("bkill", "-s", "STOP", str(job_id))
    assert cluster.job(job_id).state == "USUSP"
    cluster.run("bkill", "-s", "15", str(job_id))
    time.sleep(0.1)
    assert got(cluster, job_id) == ["SIGUSR2"]
    cluster.run("bkill", "-s", "CONT", str(job_id))
    assert cluster.wait(job_id).exit_code == 5


def test_time_in_suspension_does_not_count_towards_the_run_limit(cluster):
    job_id = cluster.submit("-W", "2", "sleep 60")
    cluster.set_state(job_id, "SSUSP")
    time.sleep(0.7)
    assert cluster.job(job_id).state == "SSUSP"
    cluster.set_state(job_id, None)
    assert cluster.job(job_id).state == "RUN"
    job = cluster.wait(job_id)
    assert job.reason == "TERM_RUNLIMIT"
    assert job.ended - job.started >= 1.0 + 0.7


def test_a_job_in_unkwn_runs_on_and_cannot_be_killed_until_it_is_back(cluster, tmp_path):
    (tmp_path / "heart.py").write_text(HEART)
    job_id = cluster.submit(f"{sys.executable} -I -S {tmp_path}/heart.py {tmp_path}/beat")
    cluster.wait_for((tmp_path / "beat").exists, "heartbeat")
    cluster.set_state(job_id, "UNKWN")
    assert cluster.run("bjobs", "-noheader", "-o", "stat", str(job_id)).stdout == "UNKWN\n"
    before = (tmp_path / "beat").stat().st_size
    assert "is being terminated" in cluster.run("bkill", str(job_id)).stdout
    cluster.wait_for(lambda: (tmp_path / "beat").stat().st_size > before + 3, "heartbeat")
    cluster.set_state(job_id, None)
    assert cluster.wait(job_id).state == "EXIT"


def test_bkill_r_gives_up_an_unreachable_job_at_once(cluster):
    job_id = cluster.submit("-n", "8", "sleep 60")
    cluster.set_state(job_id, "UNKWN")
    cluster.run("bkill", "-r", str(job_id))
    job = cluster.job(job_id)
    assert (job.state, job.reason) == ("EXIT", "TERM_FORCE_OWNER")
    assert cluster.wait(cluster.submit("-n", "8", "true")).state == "DONE"


def test_psusp_holds_a_pending_job(cluster):
    held = cluster.submit("-H", "true")
    assert cluster.job(held).state == "PSUSP"
    with pytest.raises(ValueError, match="PSUSP and cannot become SSUSP"):
        cluster.set_state(held, "SSUSP")
    cluster.set_state(held, None)
    assert cluster.wait(held).state == "DONE"


def test_bjobs_shows_unfinished_jobs_and_forgets_old_ones(tmp_path):
    with Cluster(tmp_path / "lsf", hosts=1, slots_per_host=1, kill_interval_sec=0.1) as cluster:
        done = cluster.submit("-J", "x (uuid) 1", "true")
        cluster.wait(done)
        ask = ["bjobs", "-noheader", "-o", "jobid stat", "-aJ", "*uuid*"]
        assert cluster.run(*ask).stdout.split() == [str(done), "DONE"]
        nothing = cluster.run("bjobs")
        assert (nothing.returncode, nothing.stderr) == (0, "No unfinished job found\n")
        running, pending = cluster.submit("-J", "a very long name", "sleep 60"), cluster.submit("true")
        table = cluster.run("bjobs", "-w").stdout.splitlines()
        assert [line.split()[0] for line in table] == ["JOBID", str(running), str(pending)]
        assert [line.split()[2] for line in table] == ["STAT", "RUN", "PEND"]
        assert "*long name" in cluster.run("bjobs").stdout
        cluster.store.write_settings(replace(cluster.settings, clean_period_sec=0.0))
        assert cluster.run(*ask).returncode == 255
        gone = cluster.run("bjobs", str(done))
        assert (gone.returncode, gone.stderr) == (255, f"Job <{done}> is not found\n")


def test_commands_fail_as_told(cluster):
    cluster.fail_next("bsub", times=2, message="mbatchd is busy", code=1)
    for _ in range(2):
        result = cluster.run("bsub", "true")
        assert (result.returncode, result.stderr) == (1, "mbatchd is busy\n")
    job_id = cluster.submit("true")
    cluster.outage("bjobs")
    assert cluster.run("bjobs", "-a").returncode == 255
    cluster.recover("bjobs")
    assert cluster.run("bjobs", "-a").returncode == 0
    cluster.outage("bjobs", seconds=0.2)
    assert take_fault(cluster.store, "bjobs").message == "LSF is down. Please wait ..."
    cluster.wait_for(lambda: take_fault(cluster.store, "bjobs") is None, "end of the outage")
    cluster.slow("bkill", seconds=0.4)
    begin = time.monotonic()
    cluster.run("bkill", str(job_id))
    assert time.monotonic() - begin >= 0.4
    assert len(cluster.calls("bsub")) == 3


def test_a_host_that_fails_takes_its_jobs_along(cluster):
    lost = cluster.submit("-n", "2", *log_option(cluster), "sleep 60")
    again = cluster.submit("-r", "-n", "4", "-m", "127.0.0.2 127.0.0.3", "sleep 60")
    for job_id in (lost, again):
        cluster.wait(job_id, "RUN")
    cluster.kill_host("127.0.0.1")
    assert (cluster.wait(lost).exit_code, cluster.job(lost).reason) == (137, "TERM_ZOMBIE")
    assert "host failure" in cluster.log(lost)
    cluster.kill_host("127.0.0.2", stays_down=True)
    assert cluster.wait(again, "PEND").times_run == 1
    cluster.open_host("127.0.0.2")
    assert cluster.wait(again, "RUN").times_run == 2


def test_what_a_job_leaves_behind_is_killed(cluster, tmp_path):
    # one in a session of its own, one without the job's environment
    command = f"setsid sleep 61 & env -i sleep 62 & echo $! > {tmp_path}/pid; exit 4"
    job = cluster.wait(cluster.submit(command))
    assert job.exit_code == 4
    assert processes(cluster, job.id) == []
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert not stat.exists() or " Z " in stat.read_text()


def test_a_job_whose_supervisor_is_killed_ends_and_frees_its_slots(cluster):
    job_id = cluster.submit("-n", "8", "sleep 60")
    job = cluster.wait_for(lambda: (job := cluster.job(job_id)).session and job, "session")
    supervisor = int(Path(f"/proc/{job.session}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    assert cluster.wait(cluster.submit("-n", "8", "true")).state == "DONE"
    assert cluster.job(job_id).state == "EXIT"
    assert processes(cluster, job_id) == []


def test_closing_leaves_no_process(tmp_path):
    with Cluster(tmp_path / "lsf") as cluster:
        job_id = cluster.submit("setsid sleep 60 & sleep 60")
        pending = cluster.submit("-n", "8", "sleep 60")
        cluster.wait_for(lambda: len(processes(cluster, job_id)) >= 2, "two processes")
    assert processes(cluster, job_id) + processes(cluster, pending) == []


def test_blaunch_starts_once_a_host_with_the_environment(cluster):
    command = """A=1; export A; blaunch -z "127.0.0.2 127.0.0.1" 'echo $A $LSF_DOUBLE_HOST $PWD $LSB_JOBID; exit 6'"""
    words = ["-n", "4", "-R", "span[ptile=2]", "-cwd", "/tmp"]
    job = cluster.wait(cluster.submit(*words, *log_option(cluster), command))
    lines = cluster.log(job.id).splitlines()[:2]
    assert sorted(lines) == [f"1 127.0.0.{host} /tmp {job.id}" for host in (1, 2)]
    assert job.exit_code == 6
    job = cluster.wait(cluster.submit(*words, *log_option(cluster), "blaunch echo hello; blaunch 127.0.0.2 echo one"))
    assert cluster.log(job.id).startswith("hello\n" * 4 + "one\n")


def test_blaunch_needs_a_job_and_its_hosts(cluster):
    outside = cluster.run("blaunch", "hostname")
    assert (outside.returncode, outside.stderr) == (255, "blaunch: must be run within an LSF job\n")
    job = cluster.wait(cluster.submit(*log_option(cluster), "blaunch -z 127.0.0.4 true"))
    assert job.exit_code == 255
    assert "host <127.0.0.4> is not in the job's allocation" in cluster.log(job.id)


def test_tasks_of_blaunch_get_each_signal_once_and_die_with_the_job(cluster, listener):
    command = f"blaunch -z '127.0.0.1 127.0.0.2' {listener} none 0"
    job_id = cluster.submit("-n", "2", "-R", "span[ptile=1]", *log_option(cluster), command)
    cluster.wait_for(lambda: cluster.log(job_id).count("ready") == 2, "two tasks")
    cluster.run("bkill", "-s", "USR2", str(job_id))
    cluster.wait_for(lambda: len(got(cluster, job_id)) == 2, "SIGUSR2 twice")
    cluster.run("bkill", str(job_id))
    cluster.wait(job_id)
    assert got(cluster, job_id)[:4] == ["SIGUSR2"] * 2 + ["SIGINT"] * 2
    assert processes(cluster, job_id) == []


def test_blaunch_passes_on_what_it_is_sent(cluster, listener):
    wait = "until grep -q ready $LSB_OUTPUTFILE; do sleep 0.02; done"
    command = f"blaunch 127.0.0.1 {listener} SIGUSR2 9 & {wait}; kill -USR2 $!; wait $!"
    job = cluster.wait(cluster.submit(*log_option(cluster), command))
    assert (got(cluster, job.id), job.exit_code) == (["SIGUSR2"], 9)


@pytest.fixture
def summit(tmp_path):
    with Cluster(tmp_path / "lsf", hosts=3, slots_per_host=4, easy_mode=True, gpus_per_host=6) as cluster:
        yield cluster


EASY = ("-nnodes", "2", "-P", "p", "-W", "60", "-alloc_flags", "smt1")


def test_easy_mode_gives_whole_hosts_behind_a_launch_host(summit):
    job = summit.wait(summit.submit(*EASY, *log_option(summit), "echo $LSB_MCPU_HOSTS"))
    assert summit.log(job.id).startswith("127.0.1.1 1 127.0.0.1 4 127.0.0.2 4\n")
    for words, message in [
        (["-n", "2"], "cannot be combined with -n or -R span"),
        (["-R", "span[ptile=1]"], "cannot be combined with -n or -R span"),
        (["-W", "121"], "RUNLIMIT: Cannot exceed 120 minutes for 2 nodes"),
    ]:
        assert message in refusal(summit, *EASY, *words, "true")
    assert "requires -P" in refusal(summit, "-nnodes", "1", "-W", "10", "true")


def test_jsrun_numbers_its_tasks(summit):
    mpi = "$JSM_NAMESPACE_RANK $JSM_NAMESPACE_SIZE $JSM_NAMESPACE_LOCAL_RANK $OMPI_COMM_WORLD_RANK"
    task = f"'echo {mpi} $LSF_DOUBLE_HOST $V'"
    options = "-n4 -r 2 --tasks_per_rs=1 -c2 -g 1 -d packed -b packed:2 -l gpu-cpu --smpiargs='-gpu' -E V=v"
    job = summit.wait(summit.submit(*EASY, *log_option(summit), f"jsrun {options} sh -c {task}"))
    assert job.exit_code == 0
    hosts = ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]
    expected = [f"{rank} 4 {rank % 2} {rank} {host} v" for rank, host in enumerate(hosts)]
    assert sorted(summit.log(job.id).splitlines()[:4]) == expected


def test_jsrun_ends_all_tasks_when_one_fails(summit):
    job = summit.wait(
        summit.submit(*EASY, *log_option(summit), "jsrun -n 4 -r 2 sh -c 'test $PMIX_RANK = 2 && exit 9; sleep 60'")
    )
    assert job.exit_code == 9
    job = summit.wait(summit.submit(*EASY, *log_option(summit), "jsrun -n 99 true"))
    assert job.exit_code == 255
    assert "not possible to schedule" in summit.log(job.id)


def test_the_lsf_plugin_reads_its_configuration(cluster, monkeypatch):
    from snakemake_executor_plugin_lsf import Executor

    monkeypatch.setenv("PATH", cluster.environment()["PATH"])
    config = Executor.get_lsf_config()
    assert (config["LSF_CLUSTER"], config["DEFAULT_QUEUE"], config["LSF_UNIT_FOR_LIMITS"]) == ("double", "normal", "MB")
    job = cluster.wait(cluster.submit("-J", "rule_x: a=1 (uuid)", "-R", "span[hosts=1]", "exit 1"))
    # as Executor.job_stati_lsbevents does
    script = """$1 == "\\"JOB_NEW\\"" && $42 ~ "uuid" { a[$4] } $4 in a && $1 == "\\"JOB_STATUS\\"" { print $4, $5 }"""
    found = subprocess.run(["awk", script, config["LSB_EVENTS"]], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [f"{job.id} 4", f"{job.id} 32"]


def test_a_job_does_not_get_hosts_that_it_does_not_select(cluster):
    words = ["-R", "span[ptile=1]", "-R", "select[hname!='127.0.0.1' && hname != '127.0.0.3']", "-n", "2"]
    assert cluster.wait(cluster.submit(*words, "sleep 60"), "RUN").hosts == ("127.0.0.2", "127.0.0.4")


def test_bmod_changes_what_a_job_that_waits_requires(cluster):
    words = ["-n", "4", "-R", "span[ptile=1]"]
    job = cluster.submit(*words, "-R", "select[hname!='127.0.0.1']", "sleep 60")
    assert cluster.job(job).state == "PEND"
    done = cluster.run("bmod", "-R", "span[ptile=1]", str(job))
    assert (done.returncode, done.stdout) == (0, f"Parameters of job <{job}> are being changed\n")
    assert len(set(cluster.wait(job, "RUN").hosts)) == 4
    assert "Cannot modify a started job" in cluster.run("bmod", "-Rn", str(job)).stderr
    assert "No matching job found" in cluster.run("bmod", "-Rn", "999").stderr
    assert cluster.run("bmod", "-n", "2", str(job)).returncode == 255


def test_bhosts_tells_which_hosts_take_jobs(cluster):
    cluster.wait(cluster.submit("-n", "2", "sleep 60"), "RUN")
    cluster.wait(cluster.submit("-x", "sleep 60"), "RUN")
    cluster.kill_host("127.0.0.4", stays_down=True)
    rows = [line.split() for line in cluster.run("bhosts", "-w").stdout.splitlines()]
    assert rows[0] == ["HOST_NAME", "STATUS", "JL/U", "MAX", "NJOBS", "RUN", "SSUSP", "USUSP", "RSV"]
    assert [row[:6] for row in rows[1:]] == [
        ["127.0.0.1", "closed_Full", "-", "2", "2", "2"],
        ["127.0.0.2", "closed_Excl", "-", "2", "1", "1"],
        ["127.0.0.3", "ok", "-", "2", "0", "0"],
        ["127.0.0.4", "unavail", "-", "2", "0", "0"],
    ]
    assert "127.0.0.1          closed " in cluster.run("bhosts", "127.0.0.1").stdout
    wrong = cluster.run("bhosts", "-w", "nowhere")
    assert (wrong.returncode, wrong.stderr) == (255, "nowhere: Bad host name, host group name or cluster name\n")


def test_a_queue_has_its_own_hosts(tmp_path):
    queues = {"normal": None, "small": 30}
    with Cluster(tmp_path / "lsf", hosts=3, queues=queues, queue_hosts={"small": ["127.0.0.2"]}) as cluster:
        assert "\nHOSTS:  127.0.0.2\n" in cluster.run("bqueues", "-l", "small").stdout
        assert "\nHOSTS:  all\n" in cluster.run("bqueues", "-l", "normal").stdout
        assert "30.0 min" in cluster.run("bqueues", "-l", "small").stdout
        assert cluster.run("bqueues", "-l", "none").returncode == 255
        assert cluster.wait(cluster.submit("-q", "small", "sleep 60"), "RUN").hosts == ("127.0.0.2",)


def test_an_answer_that_is_lost_is_of_a_call_that_did_its_work(cluster):
    cluster.lose_answers("bsub")
    lost = cluster.run("bsub", "true")
    assert (lost.returncode, lost.stdout) == (255, "")
    assert "Communication time out" in lost.stderr
    assert len(cluster.jobs()) == 1
    assert cluster.run("bsub", "true").returncode == 0


def test_a_report_may_be_late_and_a_bjobs_may_know_fewer_fields(tmp_path):
    with Cluster(tmp_path / "lsf", report_late_sec=0.5, fields_lacking=["exit_reason"]) as cluster:
        job = cluster.submit(*log_option(cluster), "exit 3")
        cluster.wait(job)
        assert "Sender" not in cluster.log(job)
        cluster.wait_for(lambda: "Sender: LSF System" in cluster.log(job), "report")
        assert "unknown output field <exit_reason>" in cluster.run("bjobs", "-a", "-o", "jobid exit_reason").stderr
        assert cluster.run("bjobs", "-a", "-noheader", "-o", "jobid stat").stdout == f"{job}     EXIT\n"


def test_lsf_kills_a_job_for_a_reason_of_its_own(cluster):
    job = cluster.submit("-r", *log_option(cluster), "sleep 60")
    cluster.wait(job, "RUN")
    cluster.kill_job(job, "TERM_MEMLIMIT")
    assert (cluster.wait(job).state, cluster.job(job).reason) == ("EXIT", "TERM_MEMLIMIT")
    assert "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit." in cluster.log(job)


def test_bjobs_tells_why_a_job_waits(cluster):
    job = cluster.submit("-n", "9", "true")
    head, row, reason = cluster.run("bjobs", "-p", str(job)).stdout.splitlines()
    assert (head.split()[0], row.split()[0], reason) == ("JOBID", str(job), " Not enough job slots;")
    cluster.kill_host("127.0.0.1", stays_down=True)
    assert "\n Host is unavailable: 1 host;\n" in cluster.run("bjobs", "-p").stdout
