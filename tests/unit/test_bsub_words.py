"""What LSF and Slurm are asked for, word by word, and how their answers are read."""

import re

import pytest

from warmscale.cluster import lsf, lsf_hosts, lsf_jobs, slurm, slurm_nodes
from warmscale.cluster.ask import SchedulerSilentError
from warmscale.cluster.placement import Where
from warmscale.cluster.settle import End
from warmscale.cluster.site import Site

POSTER = Where(40, 6)
NODE = {"gpus": 6, "cores": 42}
PLAIN = {
    "scheduler": "lsf",
    "launcher": "blaunch",
    "node": NODE,
    "walltime": [{"up_to_nodes": 40, "minutes": 720}],
}
EASY = PLAIN | {"style": "easy", "launcher": "jsrun", "project": "ABC123", "alloc_flags": "smt1 nvme"}
SLURM = PLAIN | {"scheduler": "slurm", "launcher": "srun"}
COMMAND = "cd /repo && python -m snakemake 'a b' > log"
OUR_BEGINNING = ["bsub", "-J", "digits:run", "-o", "/logs/run.log", "-e", "/logs/run.log"]


def bsub(facts, where=POSTER, minutes=720, avoid=(), **more):
    site = Site.model_validate(facts | more)
    return lsf.bsub_words(
        site,
        where=where,
        name="digits:run",
        log="/logs/run.log",
        cwd="/repo",
        walltime_min=minutes,
        command=COMMAND,
        avoid=avoid,
    )


def test_plain_lsf_is_asked_for_slots_on_whole_hosts_and_their_gpus():
    assert bsub(PLAIN, project="P1", queue="gpu", extra=["-Q", "75"]) == [
        *OUR_BEGINNING,
        *("-P", "P1", "-q", "gpu", "-W", "720", "-n", "1680", "-R", "span[ptile=42]"),
        *("-gpu", "num=6:mode=exclusive_process", "-Q", "75", f"cd /repo || exit; {COMMAND}"),
    ]


def test_summits_lsf_is_asked_for_nodes_and_nothing_else():
    assert bsub(EASY, minutes=120) == [
        *OUR_BEGINNING,
        *("-P", "ABC123", "-W", "120", "-nnodes", "40", "-alloc_flags", "smt1 nvme", f"cd /repo || exit; {COMMAND}"),
    ]


def test_memory_is_asked_for_only_where_the_site_says_so():
    assert "rusage[mem=512GB]" in bsub(PLAIN, node=NODE | {"memory_gb": 512})
    assert not [word for word in bsub(PLAIN) if "rusage" in word]


def test_slots_are_cores_unless_the_site_says_how_many_a_node_has():
    words = bsub(PLAIN, node=NODE | {"slots": 84})
    assert words[words.index("-n") + 1 :][:3] == ["3360", "-R", "span[ptile=84]"]


def test_a_run_on_some_gpus_of_one_node_gets_that_share_of_it():
    words = bsub(PLAIN, where=Where(1, 2), node=NODE | {"memory_gb": 512})
    assert words[words.index("-n") :][:8] == [
        *("-n", "14", "-R", "span[ptile=14]", "-R", "rusage[mem=170GB]", "-gpu", "num=2:mode=exclusive_process")
    ]


def test_nodes_without_gpus_are_asked_for_none_and_taken_whole():
    words = bsub(PLAIN, where=Where(2, 4), node={"cores": 8})
    assert "-gpu" not in words
    assert words[words.index("-n") + 1] == "16"


def test_own_gpu_words_of_a_site_replace_ours():
    words = bsub(PLAIN, extra=["-gpu", "num=6:gmodel=V100"])
    assert words.count("-gpu") == 1
    assert "num=6:gmodel=V100" in words


def test_a_job_goes_to_its_folder_or_ends_before_the_command_which_is_as_it_was():
    for facts in (PLAIN, EASY):
        assert bsub(facts)[-1] == f"cd /repo || exit; {COMMAND}"


def test_only_options_of_bsub_that_lsfs_relatives_have_are_used_unless_the_site_asks_for_more():
    """OpenLava and volclava read -env as -e nv, and a job that asks for no GPU needs nothing that they lack."""
    words = bsub(PLAIN, node=NODE | {"gpus": 0}, launcher="mpirun", project="P1", queue="long", avoid=["h1"])
    assert {word for word in words if word.startswith("-")} == {"-J", "-o", "-e", "-P", "-q", "-W", "-n", "-R"}


def test_the_id_of_a_job_is_read_from_what_bsub_says():
    assert lsf.job_id_in("Job <4711> is submitted to default queue <normal>.\n") == "4711"
    noise = "Warning: project <a> is low\nJob <12> is submitted to queue <gpu>."
    assert lsf.job_id_in(noise) == "12"


@pytest.mark.parametrize("answer", ["", "Job not submitted.", "Job <x> is submitted", "Request aborted by esub."])
def test_an_answer_without_a_job_is_an_error_with_its_text(answer):
    with pytest.raises(lsf.RefusedError, match=re.escape(f"bsub names no job: {answer or 'it said nothing'}")):
        lsf.job_id_in(answer)


def test_states_of_jobs_are_read_from_bjobs():
    answer = "12 RUN\n13    UNKWN  \nJob <14> is not found\n\n15 DONE\n"
    assert lsf.states_in(answer) == {"12": "RUN", "13": "UNKWN", "15": "DONE"}


def test_states_that_recover_count_as_alive_and_only_ended_ones_as_over():
    assert {"UNKWN", "PSUSP", "USUSP", "SSUSP", "ZOMBI", "PEND", "RUN"} <= lsf.ALIVE
    assert lsf.OVER.isdisjoint(lsf.ALIVE)
    assert {"DONE", "EXIT"} <= lsf.OVER


@pytest.mark.parametrize(
    "message, transient",
    [
        ("LSF is down. Please wait ...", True),
        ("Failed in an LSF library call: Master LIM is down. Job not submitted.", True),
        ("batch daemon not responding ... still trying", True),
        ("ls_gethostinfo: Connection refused. Job not submitted.", True),
        ("Communication time out", True),
        ("Cannot connect to LSF. Please wait ...", True),
        ("Pending job threshold reached. Retrying in 60 seconds...", True),
        ("User <me>: Pending job slot threshold reached. Job not submitted.", True),
        ("bsub: fork: Resource temporarily unavailable", True),
        ("gpux: No such queue. Job not submitted.", False),
        ("Bad resource requirement syntax. Job not submitted.", False),
        ("ABC123: Not a valid project. Job not submitted.", False),
        ("User cannot use the queue. Job not submitted.", False),
        ("RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted.", False),
        ("Too many processors requested. Job not submitted.", False),
        ("", False),
    ],
)
def test_a_failed_bsub_is_worth_repeating_only_for_reasons_that_pass(message, transient):
    assert lsf.is_transient(message) is transient


def sbatch(where, minutes=720, avoid=(), **more):
    site = Site.model_validate(SLURM | more)
    return slurm.sbatch_words(
        site,
        where=where,
        name="digits:run",
        log="/logs/run.log",
        cwd="/repo",
        walltime_min=minutes,
        command=COMMAND,
        avoid=avoid,
    )


def test_slurm_excludes_nodes_unless_the_site_does():
    assert "--exclude=n1,n2" in sbatch(POSTER, avoid=["n1", "n2"])
    assert not [word for word in sbatch(POSTER) if "exclude" in word]
    assert [slurm_nodes.excludes_nodes(words) for words in (["-x", "n1"], ["--exclude=n1"], ["--exclusive"], [])] == [
        *(True, True, False, False)
    ]


def test_slurm_is_asked_for_tasks_and_gpus_of_each_node():
    named = {"project": "acc", "queue": "gpu", "qos": "long", "constraint": "v100", "extra": ["--exclusive"]}
    assert sbatch(POSTER, node=NODE | {"memory_gb": 500}, **named) == [
        *("sbatch", "--parsable", "--job-name", "digits:run", "--output", "/logs/run.log", "--open-mode=append"),
        *("--export=ALL", "-D", "/repo", "--account=acc", "--partition=gpu", "--qos=long", "--constraint=v100"),
        *("--time=720", "--nodes=40", "--ntasks-per-node=6", "--cpus-per-task=7", "--gres=gpu:6", "--mem=500G"),
        *("--exclusive", "--wrap", COMMAND),
    ]


def test_a_single_rank_gets_its_share_of_a_node():
    words = sbatch(Where(1, 1))
    assert {"--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=7", "--gres=gpu:1"} <= set(words)
    assert not [word for word in words if word.startswith(("--mem", "--account", "--qos"))]


def test_the_id_of_a_slurm_job_is_read_with_and_without_a_cluster():
    assert slurm.job_id_in("12\n") == "12"
    assert slurm.job_id_in("sbatch: a warning\n12;cluster-1\n") == "12"
    with pytest.raises(slurm.RefusedError, match="sbatch names no job: sbatch: error: invalid partition"):
        slurm.job_id_in("sbatch: error: invalid partition")


def test_states_of_slurm_jobs_are_read_from_squeue():
    assert slurm.states_in("7 RUNNING\n8 REQUEUE_HOLD\n\nslurm_load_jobs error\n") == {
        "7": "RUNNING",
        "8": "REQUEUE_HOLD",
    }
    assert {"PREEMPTED", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "COMPLETING", "PENDING"} <= slurm.ALIVE
    assert slurm.OVER.isdisjoint(slurm.ALIVE)


@pytest.mark.parametrize(
    "message, transient",
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", False),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", False),
        ("sbatch: error: invalid partition specified: gpux", False),
    ],
)
def test_a_failed_sbatch_is_worth_repeating_only_for_reasons_that_pass(message, transient):
    assert slurm.is_transient(message) is transient


def test_hosts_to_avoid_are_words_of_their_own():
    words = bsub(PLAIN, avoid=["h1", "h2"])
    assert words[-3:-1] == ["-R", "select[hname!='h1' && hname!='h2']"]


def test_hosts_that_take_jobs_are_those_that_are_not_down():
    answer = """HOST_NAME          STATUS          JL/U    MAX  NJOBS    RUN  SSUSP  USUSP    RSV
h1                 ok              -      8      0      0      0      0      0
h2                 closed_Full     -      8      8      8      0      0      0
h3                 unavail         -      8      0      0      0      0      0
h4                 closed_Adm      -      8      0      0      0      0      0
"""
    assert lsf_hosts.hosts_in(answer) == ["h1", "h2"]
    assert lsf_hosts.hosts_in("bhosts is not on the PATH") == []


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("HOSTS: all ", ["bhosts -w"]),
        ("HOSTS:  all hosts used by the LSF system", ["bhosts -w"]),
        ("HOSTS:  h1 h2+3 gpus/ fat/+1 h9!", ["bhosts -w h1 h2 gpus fat h9"]),
        ("", ["bhosts -w"]),
    ],
)
def test_the_hosts_of_a_queue_are_those_that_it_names(monkeypatch, line, asked):
    called = []

    def answer(words):
        called.append(" ".join(words))
        return 0, f"QUEUE: gpu\n\nUSERS: all \n{line}\n"

    monkeypatch.setattr(lsf_hosts, "answer", answer)
    lsf_hosts.hosts_of_queue("gpu")
    assert called == ["bqueues -l gpu", *asked]


def test_hosts_that_a_queue_leaves_out_are_no_hosts_of_it(monkeypatch):
    table = "HOST_NAME STATUS\nh1 ok - 8\nlogin ok - 8\n"
    monkeypatch.setattr(
        lsf_hosts, "answer", lambda words: (0, "HOSTS:  all ~login" if words[0] == "bqueues" else table)
    )
    assert lsf_hosts.hosts_of_queue("gpu") == ["h1"]
    assert lsf_hosts.hosts_of_queue(None) == ["h1", "login"]


@pytest.mark.parametrize(
    ("states", "lost"),
    [(["ok", "unavail", "closed_Full"], "h2"), (["ok", "ok", "ok"], None), (["unreach", "unavail", "ok"], None)],
)
def test_of_several_hosts_the_lost_one_is_the_one_that_lsf_cannot_reach(monkeypatch, states, lost):
    table = "HOST_NAME STATUS\n" + "".join(f"h{number + 1} {state} - 8\n" for number, state in enumerate(states))
    monkeypatch.setattr(lsf_hosts, "answer", lambda words: (0, table))
    assert lsf_hosts.lost_host(["h1", "h2", "h3"]) == lost
    assert lsf_hosts.lost_host(["h1"]) == "h1"
    assert lsf_hosts.lost_host([]) is None


def test_a_job_that_waits_keeps_its_other_requirements():
    words = bsub(PLAIN, node=NODE | {"memory_gb": 512}, extra=["-R", "select[nvme]"])
    assert lsf.lifting_words("7", words) == [
        *("bmod", "-R", "span[ptile=42]", "-R", "rusage[mem=512GB]", "-R", "select[nvme]", "7")
    ]
    assert lsf.lifting_words("7", ["bsub", "-n", "1", "true"]) == ["bmod", "-Rn", "7"]
    assert lsf.lifting_words("7", ["bsub", "-Rselect[nvme]", "true"]) == ["bmod", "-Rselect[nvme]", "7"]


def test_why_jobs_wait_is_read_from_bjobs(tmp_path, monkeypatch):
    head = "JOBID   USER    STAT  QUEUE      FROM_HOST   JOB_NAME   SUBMIT_TIME"
    rows = "7678 user1 PEND priority hostD verilog Oct 28 13:08\n Not enough job slots: 1 host;\n Load: 2 hosts;\n"
    bjobs(tmp_path, monkeypatch, f"cat <<'EOF'\n{head}\n{rows}7679 user1 PEND normal hostD a Oct 28 13:08\nEOF")
    assert lsf_jobs.pending_reasons(["7678", "7679"]) == {"7678": "Not enough job slots: 1 host; Load: 2 hosts"}


def bjobs(folder, monkeypatch, script):
    """Put a bjobs of our own on the PATH."""
    program = folder / "bjobs"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_bjobs_without_formats_is_asked_for_its_table(tmp_path, monkeypatch):
    table = "JOBID USER STAT QUEUE FROM_HOST EXEC_HOST JOB_NAME SUBMIT_TIME\\n7 me RUN normal h1 h2 a:b Nov 20 10:00"
    script = f"case \"$*\" in *-o*) echo 'bjobs: illegal option -- o' >&2; exit 255;; *) printf '{table}\\n';; esac"
    bjobs(tmp_path, monkeypatch, script)
    assert lsf.states(["7"]) == {"7": "RUN"}


def test_a_job_that_is_not_found_is_no_outage(tmp_path, monkeypatch):
    bjobs(tmp_path, monkeypatch, "echo 'Job <7> is not found' >&2; exit 255")
    assert lsf.states(["7"]) == {}


def test_an_outage_in_one_of_many_calls_is_an_outage(tmp_path, monkeypatch):
    script = "case \"$*\" in *' 1 '*) echo '1 RUN';; *) echo 'LSF is down. Please wait ...' >&2; exit 255;; esac"
    bjobs(tmp_path, monkeypatch, script)
    with pytest.raises(SchedulerSilentError, match="bjobs: LSF is down"):
        lsf.states([str(number) for number in range(1, 300)])


def test_the_end_of_a_job_is_read_from_the_report():
    report = (
        "TERM_NOTHING: what a program printed\nSender: LSF System <lsf@h07>\n"
        "Job was executed on host(s) <6*h07>, in queue <q>, as user <me> in cluster <c>\n"
        "                            <6*h08>\n</repo> was used as the working directory.\n"
    )
    assert lsf_jobs.end_in(report) == End(None, ("h07", "h08"))
    alone = report.replace("6*", "").replace("                            <h08>\n", "")
    assert lsf_jobs.end_in(alone + "TERM_OWNER: job killed by owner.\n") == End("TERM_OWNER", ("h07",))
    assert lsf_jobs.end_in("nothing yet\nTERM_OWNER: no") is None


def test_ends_are_read_from_bjobs_which_may_know_neither_field(tmp_path, monkeypatch):
    rows = "7|6*h07:6*h08|TERM_RUNLIMIT: job killed after reaching LSF run time limit\n8|-|-\n9|h1|\n"
    bjobs(tmp_path, monkeypatch, f"cat <<'EOF'\n{rows}EOF")
    assert lsf_jobs.ends(["7", "8", "9"]) == {
        "7": End("TERM_RUNLIMIT", ("h07", "h08")),
        "8": End(None, ()),
        "9": End(None, ("h1",)),
    }
    bjobs(tmp_path, monkeypatch, "echo 'bjobs: unknown output field <exit_reason>' >&2; exit 255")
    assert lsf_jobs.ends(["7"]) == {}
    assert lsf_jobs.submitted_as("digits:run", "/a/log") is None


RELATIVE = r"""
case "$*" in
*-noheader*) echo "bjobs: invalid option -- 'n'" >&2; exit 255;;
*-J\ other*) echo "No job found" >&2; exit 255;;
*-l*) cat <<'EOF'

Job <3>, Job Name <digits:run>, User <alice>, Project <default>, Status <EXIT>, Queue <normal>, Command <sleep
                     60>
Sat Nov 21 07:28:51: Submitted from host <node0>, CWD <$HOME/w>, Output File <//lo
                     gs/1.log>, Error File </logs/1.log>;
Sat Nov 21 07:28:53: Started on <node3>, Execution Home </home/alice>;

Job <4>, Job Name <digits:run>, User <alice>, Status <RUN>, Queue <normal>
Sat Nov 21 07:28:51: Submitted from host <node0>, CWD <$HOME/w>, Output File (overwrite) </logs/2.log>;
EOF
;;
*) cat <<'EOF'
JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME
3       alice   EXIT  normal     node0       node2       digits:run Nov 21 07:24
4       alice   RUN   normal     node0       2*node2:2*node3 digits:run Nov 21 07:24
EOF
;;
esac
"""
"""What volclava 2.2 answers, whose bjobs has another -o."""


def test_relatives_of_lsf_tell_states_and_output_files_in_their_own_words(tmp_path, monkeypatch):
    bjobs(tmp_path, monkeypatch, RELATIVE)
    assert lsf.states(["3", "4"]) == lsf.own_states(10.0) == {"3": "EXIT", "4": "RUN"}
    files = ("//logs/1.log", "/logs/2.log", "/logs/3.log")
    assert [lsf_jobs.submitted_as("digits:run", file) for file in files] == ["3", "4", None]
    assert lsf_jobs.submitted_as("other", "/logs/1.log") is None
