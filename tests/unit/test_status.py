"""`warmscale status`: where runs are, by what their folders hold."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from warmscale import cli
from warmscale.monitoring.files import last_epoch, read_objects
from warmscale.monitoring.manifest import read_manifest, write_manifest
from warmscale.monitoring.runs import read_run, with_metrics
from warmscale.monitoring.studies import read_study
from warmscale.monitoring.table import Screen, summary_lines, table_lines
from warmscale.monitoring.text import bar, duration
from warmscale.records import EPOCH_COLUMNS
from warmscale.training import progress

from .run_folders import EPOCHS, STEPS, RunFolder

SCRIPTS = Path(cli.__file__).parents[1]


@pytest.fixture
def study(tmp_path):
    return tmp_path / "results/digits"


@pytest.fixture
def run(study):
    """A run without any attempt."""
    return RunFolder(study, "mb1-a")


def read(folder, **planned):
    return with_metrics(
        str(folder.study), read_run(str(folder.study), folder.run_id, planned or {"total_steps": STEPS}, time.time())
    )


def status(study, *words):
    return cli.main(["status", "--results", str(study.parent), *words])


# --- state of one run -------------------------------------------------------------------------------------------------


def test_a_run_without_job_or_attempt_is_pending(run):
    assert read(run).state == "pending"


def test_a_submitted_run_is_queued_until_an_attempt_begins(run):
    assert read(run.submitted("7")).state == "queued"
    assert read(run).job_id == "7"
    assert read(run.going(job_id="7").beating()).state == "running"


def test_a_run_submitted_again_after_an_attempt_is_queued(run):
    run.submitted("7").ended("paused", failure_class="walltime", job_id="7", steps_done=40)
    assert read(run).state == "paused"
    run.submitted("8", ago_sec=3600)  # by the clock of another machine
    assert (read(run).state, read(run).fraction) == ("queued", 0.4)


def test_without_job_ids_the_time_tells_whether_a_run_was_submitted_again(run):
    run.ended("failed", ago_sec=100).submitted(ago_sec=200)
    assert read(run).state == "failed"
    assert read(run.submitted(ago_sec=50)).state == "queued"


@pytest.mark.parametrize("state", ["finished", "diverged"])
def test_an_outcome_decides_whatever_else_is_there(run, state):
    run.outcome(state).submitted("8", ago_sec=-5).beating(ago_sec=9999)
    assert read(run).state == state
    assert read(run).fraction == 1.0


def test_an_outcome_that_was_written_while_we_read_is_seen_in_the_attempt(run):
    assert read(run.ended("finished")).state == "finished"


@pytest.mark.parametrize(
    ("ended", "shown"), [("failed", "failed"), ("paused", "paused"), ("killed", "paused"), ("diverged", "diverged")]
)
def test_without_outcome_the_last_attempt_tells(run, ended, shown):
    run.ended("failed").ended("paused").ended(ended)
    assert (read(run).state, read(run).attempts) == (shown, 3)


def test_a_running_run_without_a_heartbeat_for_two_minutes_may_be_lost(run):
    run.going().at_step(10)
    assert read(run.beating(ago_sec=100)).state == "running"
    assert read(run.beating(ago_sec=130)).state == "lost?"


def test_without_a_lease_progress_is_the_heartbeat(run):
    run.going(ago_sec=1000).at_step(10, ago_sec=100)
    assert read(run).state == "running"
    assert read(run.at_step(10, ago_sec=200)).state == "lost?"


def test_an_attempt_whose_end_is_recorded_goes_on_no_more(run):
    run.ended("failed", failure="x").going(number=1)
    assert (read(run).state, read(run).attempts) == ("failed", 1)


def test_a_lease_that_is_alive_between_attempts_is_running(run):
    assert read(run.beating(ago_sec=3)).state == "running"


def test_a_published_run_without_private_state_is_read_from_its_record(study):
    folder = RunFolder(study, "mb1-a").published(state="failed", failure_class="bug", failure="x", attempts=[{}, {}])
    shutil.rmtree(folder.state)
    (found,) = read_study(str(study), None, None, time.time()).runs
    assert (found.state, found.failure_class, found.attempts) == ("failed", "bug", 2)


# --- progress ---------------------------------------------------------------------------------------------------------


def test_eta_follows_from_the_rate_of_training_without_the_time_to_start(run):
    run.write("content.json", {"epochs": EPOCHS, "mini_batch_size": 320}).going(ago_sec=1000).beating()
    assert read(run.at_step(10, images_per_sec=32.0)).eta_sec == pytest.approx(900, abs=5)
    assert read(run.at_step(10, images_per_sec=32.0, ago_sec=60)).eta_sec == pytest.approx(840, abs=5)
    assert read(run.at_step(0, images_per_sec=0.0)).eta_sec is None


def test_without_a_rate_eta_follows_from_the_steps_of_this_attempt(run):
    run.going(ago_sec=100, steps_before=40).beating().at_step(50, images_per_sec=1234.5)
    found = read(run)
    assert found.eta_sec == pytest.approx(500, abs=5)  # 10 steps in 100 s, 50 to go
    assert (found.images_per_sec, found.fraction, found.epoch, found.epochs) == (1234.5, 0.5, 6, None)


def test_between_start_and_first_step_the_epoch_follows_from_the_checkpoint(run):
    run.at_step(40, epoch=0).going(ago_sec=100, steps_before=40).beating()
    assert read(run, epochs=EPOCHS, total_steps=STEPS).epoch == 4


def test_what_an_earlier_attempt_left_is_no_progress_of_this_one(run):
    run.at_step(80, ago_sec=2000, images_per_sec=9.0).going(ago_sec=100, steps_before=40).beating()
    found = read(run)
    assert (found.state, found.steps_done, found.eta_sec, found.images_per_sec) == ("running", 40, None, None)


def test_accuracy_and_rate_are_the_last_epochs(run):
    run.rows(10.0, 20.5).outcome()
    assert (read(run).top1, read(run).images_per_sec) == (20.5, 100.0)


def test_a_row_that_is_being_written_is_not_read(run):
    path = run.rows(10.0, 20.5).state / "epochs.csv"
    with path.open("a") as file:
        file.write("mb1-a,3,99")
    assert last_epoch(str(path))["top1"] == "20.5"


def test_a_row_of_before_gradients_were_measured_is_read(run):
    path = run.rows(10.0, 20.5).state / "epochs.csv"
    count = EPOCH_COLUMNS.index("gradient_norm")
    path.write_text("".join(",".join(line.split(",")[:count]) + "\n" for line in path.read_text().splitlines()))
    assert last_epoch(str(path))["top1"] == "20.5"


def test_a_header_alone_is_no_epoch(run):
    assert last_epoch(str(run.rows().state / "epochs.csv")) == {}


def test_a_line_that_is_being_written_is_no_attempt(run):
    run.ended("paused")
    path = run.state / "attempts.jsonl"
    with path.open("a") as file:
        file.write('{"state": "fai')
    assert len(read_objects(str(path))) == 1
    assert read(run).state == "paused"


def test_files_that_are_empty_or_no_json_or_null_change_nothing(run):
    for name in ("outcome.json", "attempt.json", "job.json", "progress.json"):
        run.write(name, "")
    assert read(run).state == "pending"
    run.write("attempts.jsonl", "[]\nnull\n" + json.dumps({"state": "paused", "ended": None, "job_id": None}) + "\n")
    assert read(run.write("outcome.json", "[1]")).state == "paused"


def test_node_hours_count_nodes_and_the_attempt_that_goes_on(run):
    run.ended("paused", took_sec=3600, nodes=10).ended("paused", took_sec=3600)
    run.going(number=3, ago_sec=1800, nodes=2).beating(ago_sec=0)
    assert read(run).node_hours == pytest.approx(12.0, abs=0.01)


def test_training_tells_step_and_rate_every_ten_seconds_and_at_the_end(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    told = progress.Progress(tmp_path / "progress.json", total_steps=100, images_per_step=32, name="mb1-a")
    told.start(10)
    steps = []
    for clock[0], done in [(4.0, 12), (8.0, 14), (13.9, 16), (14.1, 18), (15.0, 100)]:
        told.step(done, 1)
        record = json.loads((tmp_path / "progress.json").read_text())
        steps.append((record["step"], record["images_per_sec"]))
    assert steps == [(12, 16.0), (12, 16.0), (12, 16.0), (18, pytest.approx(8 * 32 / 14.1)), (100, 90 * 32 / 15)]


# --- runs of a study --------------------------------------------------------------------------------------------------


def planned(*names):
    return {name: {"epochs": EPOCHS, "total_steps": STEPS} for name in names}


def test_the_manifest_names_runs_that_have_no_folder_yet_in_its_order(study):
    RunFolder(study, "mb1-a").outcome()
    write_manifest(study, planned("mb9-z", "mb1-a", "mb5-m"), "snakemake --profile lsf", ["config/digits.yaml"])
    found = read_study(str(study), None, None, time.time())
    assert [(run.run_id, run.state) for run in found.runs] == [
        ("mb9-z", "pending"),
        ("mb1-a", "finished"),
        ("mb5-m", "pending"),
    ]
    assert found.command == "snakemake --profile lsf"


def test_runs_of_earlier_configs_are_told_but_not_counted(study):
    RunFolder(study, "mb1-a").outcome()
    RunFolder(study, "mb2-b").ended("failed").published(state="failed")
    found = read_study(str(study), planned("mb1-a"), None, time.time())
    assert [run.run_id for run in found.runs] == ["mb1-a"]
    assert any("1 run of earlier configs" in line for line in summary_lines(found, Screen()))


def test_measurements_are_those_of_the_manifest_whatever_a_config_plans(study):
    RunFolder(study, "tp-n1x1-w1-b8-r1-a").outcome(epochs_done=0)
    RunFolder(study, "tp-n1x1-w1-b8-r1-b").outcome(epochs_done=0)
    write_manifest(study, {"mb1-a": {}, "tp-n1x1-w1-b8-r1-a": {"total_steps": 9}}, "snakemake", [])
    known = read_study(str(study), {"mb1-a": {}}, None, time.time())
    assert [(one.run_id, one.state) for one in known.runs] == [("mb1-a", "pending"), ("tp-n1x1-w1-b8-r1-a", "finished")]
    assert known.others == 1
    assert summary_lines(known, Screen())[0] == f"{study}: 1 run and 1 measurement: 1 finished, 1 pending"


def test_the_manifest_is_written_only_when_it_changes(study):
    write_manifest(study, planned("mb1-a"), "snakemake", [])
    path = study / "study.json"
    os.utime(path, (1, 1))
    write_manifest(study, planned("mb1-a"), "snakemake", [])
    assert path.stat().st_mtime == 1
    write_manifest(study, planned("mb1-a", "mb2-b"), "snakemake", [])
    assert path.stat().st_mtime != 1
    assert list(read_manifest(str(study)).runs) == ["mb1-a", "mb2-b"]
    assert os.listdir(study) == ["study.json"]


def test_a_manifest_where_nothing_can_be_written_is_left_out(tmp_path):
    (tmp_path / "file").write_text("")
    write_manifest(tmp_path / "file/digits", planned("mb1-a"), "snakemake", [])


def test_a_half_trained_study_is_half_trained(study):
    RunFolder(study, "mb1-a").outcome()
    RunFolder(study, "mb2-b").going(ago_sec=100).beating().at_step(50)
    found = read_study(str(study), planned("mb1-a", "mb2-b", "mb3-c"), None, time.time())
    assert found.fraction == pytest.approx(0.5)
    assert found.eta_sec == pytest.approx(300, abs=5)  # half a run in 100 s, one and a half to go


def test_failed_runs_do_not_delay_the_end(study):
    RunFolder(study, "mb1-a").ended("failed")
    RunFolder(study, "mb2-b").going(ago_sec=100).beating().at_step(50)
    found = read_study(str(study), planned("mb1-a", "mb2-b"), None, time.time())
    assert found.eta_sec == pytest.approx(100, abs=5)


def under_way(study):
    return read_study(str(study), None, None, time.time()).under_way


def test_a_workflow_is_under_way_while_its_lease_is_alive(study):
    RunFolder(study, "mb1-a").going().beating()
    (study / "master").mkdir()
    assert not under_way(study)  # released: jobs go on by themselves
    found = read_study(str(study), None, None, time.time())
    assert any(line.startswith("No Snakemake works on it any more") for line in summary_lines(found, Screen()))
    lease = study / "master/000001.json"
    lease.write_text("{}")
    assert under_way(study)
    os.utime(lease, (1, 1))
    assert not under_way(study)


def test_without_a_lease_of_the_workflow_its_runs_tell_whether_it_is_under_way(study):
    RunFolder(study, "mb1-a").outcome()
    assert not under_way(study)
    RunFolder(study, "mb2-b").submitted()
    assert under_way(study)


def test_the_profile_is_guessed_from_the_jobs_where_no_manifest_tells(study):
    RunFolder(study, "mb1-a").submitted(scheduler="slurm")
    found = read_study(str(study), None, "config/my study.yaml", time.time())
    assert found.command == "snakemake --profile slurm --configfile 'config/my study.yaml'"


def test_a_study_of_many_runs_is_read_in_order(study):
    names = [f"mb{number}-x" for number in range(350)]
    for name in names[::7]:
        RunFolder(study, name).outcome()
    runs = read_study(str(study), planned(*names), None, time.time()).runs
    assert [run.run_id for run in runs] == names
    assert [run.run_id for run in runs if run.state == "finished"] == names[::7]


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_row_holds_all_there_is_to_say(study, capsys):
    run = RunFolder(study, "mb1-a").submitted("77").rows(10.0, 20.5).ended("paused")
    run.going(number=2, ago_sec=100, job_id="77").beating().at_step(50, images_per_sec=1234.5)
    assert status(study) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mb1-a"))
    assert row.split() == ["mb1-a", "running", "██████░░░░░░", "50", "%", "6/10", "20.50", "1,234", "2m", "77", "2"]


def test_the_exit_code_tells_whether_runs_failed(study, capsys):
    RunFolder(study, "mb1-a").outcome("diverged")
    assert status(study) == 0
    RunFolder(study, "mb2-b").ended("failed", failure_class="data", failure="no index")
    assert status(study) == 1
    assert "mb2-b: data: no index" in capsys.readouterr().out


def test_failed_shows_failures_only(study, capsys):
    RunFolder(study, "mb1-a").outcome()
    RunFolder(study, "mb2-b").ended("failed", rank=0).log("rank0", "why")
    status(study, "--failed")
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.startswith("mb1-a") for line in lines)
    assert "    | why" in lines


def test_with_more_runs_than_rows_the_urgent_ones_are_shown(study):
    for number in range(30):
        RunFolder(study, f"mb{number:02d}-x").outcome()
    RunFolder(study, "mb07-x").outcome("diverged")
    RunFolder(study, "mb98-x").going().beating()
    RunFolder(study, "mb99-x").ended("failed")
    found = read_study(str(study), None, None, time.time())
    lines = table_lines(found, Screen(), rows=3)
    assert [line.split()[0] for line in lines[1:-1]] == ["mb07-x", "mb98-x", "mb99-x"]
    assert lines[-1] == "Not shown: 29 finished; --all shows every run"
    assert len(table_lines(found, Screen(), rows=None)) == 33


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
def test_no_row_is_wider_than_the_screen(study, width):
    RunFolder(study, "mb30720-w240-lr12-up409-s1-7ccf204f2b3a").submitted("1234567").rows(1.0).outcome()
    found = read_study(str(study), None, None, time.time())
    lines = table_lines(found, Screen(width=width), rows=None)
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert lines[1].split()[1:] == ["finished", "█" * 6, "10/10", "1.00", *(["50", "1"] if width == 100 else [])]


def test_without_unicode_bars_are_ascii(study):
    RunFolder(study, "mb1-é").going(ago_sec=9).beating().at_step(50).log("rank0", "é")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-m", "warmscale.cli", "status", "--results", str(study.parent)]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    assert b"######......" in done.stdout
    assert b"mb1-?" in done.stdout


def test_bars_and_durations():
    assert bar(0.5, 4, blocks=False) == "##.."
    assert bar(0.999, 4, blocks=True) == "███░"
    seconds = [None, 0, 59.4, 59.6, 3599, 3601, 86399, 90_000, 9e5]
    assert [duration(value) for value in seconds] == [
        "",
        "0s",
        "59s",
        "1m",
        "1h00m",
        "1h00m",
        "1d00h",
        "1d01h",
        "10d10h",
    ]


def test_every_study_is_shown_and_one_can_be_chosen(tmp_path, capsys):
    for name in ("digits", "poster"):
        RunFolder(tmp_path / "results" / name, f"mb1-{name}").outcome()
    (tmp_path / "results/notes").mkdir()
    assert status(tmp_path / "results/digits") == 0
    out = capsys.readouterr().out
    assert "mb1-digits" in out and "mb1-poster" in out
    assert status(tmp_path / "results/digits", "--study", "poster") == 0
    assert "mb1-digits" not in capsys.readouterr().out


def test_an_unknown_study_is_one_line(study, capsys):
    RunFolder(study, "mb1-a").outcome()
    assert status(study, "--study", "digit") == 1
    assert capsys.readouterr().err == (f"warmscale: digit is no study under {study.parent}; did you mean digits?\n")


def test_no_results_at_all_are_one_line(study, capsys):
    assert status(study) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_profile_says_where_the_studies_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("profiles/far").mkdir(parents=True)
    Path("profiles/far/site.yaml").write_text("results: elsewhere\n")
    RunFolder(Path("elsewhere/digits"), "mb1-far").outcome()
    RunFolder(Path("results/digits"), "mb1-here").outcome()
    assert cli.main(["status", "--profile", "far"]) == 0
    shown = capsys.readouterr().out
    assert "mb1-far" in shown and "mb1-here" not in shown


def test_a_profile_without_a_site_file_means_this_checkouts_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("profiles/local").mkdir(parents=True)
    Path("profiles/local/config.yaml").touch()
    RunFolder(Path("results/digits"), "mb1-a").outcome()
    assert cli.main(["status", "--profile", "local"]) == 0
    assert "mb1-a" in capsys.readouterr().out
    assert cli.main(["status", "--profile", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("warmscale: profile nowhere: no site.yaml in nowhere, profiles/nowhere")


def test_a_config_names_runs_before_anything_was_started(tmp_path, capsys):
    config = Path(__file__).parents[2] / "config/digits.yaml"
    assert status(tmp_path / "results/digits", "--configfile", str(config)) == 0
    out = capsys.readouterr().out
    assert "43 runs: 43 pending" in out
    assert f"--configfile {config}" in out


def test_a_config_names_measurements_before_anything_was_started(tmp_path, capsys):
    config = Path(__file__).parents[2] / "config/throughput-local.yaml"
    study = tmp_path / "results/throughput-local"
    assert status(study, "--configfile", str(config)) == 0
    assert "15 measurements: 15 pending" in capsys.readouterr().out
    study.mkdir(parents=True)
    write_manifest(study, {"tp-n1x6-w6-b8-r1-a": {"total_steps": 9}}, "snakemake", [])  # where there are GPUs
    assert status(study, "--configfile", str(config)) == 0
    out = capsys.readouterr().out
    assert "1 measurement: 1 pending" in out
    assert "tp-n1x6-w6-b8-r1-a" in out


def test_a_broken_config_is_no_traceback(tmp_path, capsys):
    (tmp_path / "my.yaml").write_text("study: [")
    assert status(tmp_path / "results/digits", "--configfile", str(tmp_path / "my.yaml")) == 1
    assert f"{tmp_path}/my.yaml: line 1" in capsys.readouterr().err


# --- the command ------------------------------------------------------------------------------------------------------


def test_status_imports_nothing_heavy(study):
    RunFolder(study, "mb1-a").ended("failed")
    code = (
        "import sys; from warmscale import cli; cli.main(['status', '--results', sys.argv[1]])\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pydantic', 'yaml', 'tqdm', 'snakemake'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-c", code, str(study.parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "1 failed" in done.stdout


def watching(study, **options):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "TERM": "xterm"}
    command = [sys.executable, "-m", "warmscale.cli", "status", "--results", str(study.parent), "--watch", "0.1"]
    return subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # what a shell starts in the background has it ignored, and so have all its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def test_watch_without_a_terminal_prints_blocks_until_all_runs_have_a_result(study):
    run = RunFolder(study, "mb1-a").going().beating().at_step(50)
    write_manifest(study, planned("mb1-a"), "snakemake", [])
    with watching(study, stdout=subprocess.PIPE) as process:
        lines = [next(process.stdout) for _ in range(20)]
        run.outcome()
        out, err = process.communicate(timeout=60)
    assert sum("1 running" in line for line in lines) > 1
    assert "1 finished" in out
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out


def test_watch_on_a_terminal_repaints_in_place_and_leaves_on_ctrl_c(study):
    RunFolder(study, "mb1-a").ended("failed")
    ours, theirs = pty.openpty()
    process = watching(study, stdin=theirs, stdout=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while seen.count(b"\x1b[H") < 3 and time.monotonic() < deadline:
        seen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # of a terminal that nobody has open any more
        while rest := os.read(ours, 4096):  # whoever prints waits for a reader
            seen += rest
    assert process.wait(timeout=60) == 1  # a run has failed
    assert process.stderr.read() == ""
    process.stderr.close()
    os.close(ours)
    assert seen.count(b"\x1b[2J") == 1
    assert b"\x1b[31mfailed\x1b[0m" in seen


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_watch_wants_a_positive_number(study, seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        status(study, f"--watch={seconds}")
    assert ended.value.code == 2


def test_a_reader_that_leaves_is_no_error(study):
    for number in range(400):  # more than a pipe holds
        RunFolder(study, f"mb{number}-{'x' * 200}").outcome()
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "warmscale.cli", "status", "--results", str(study.parent), "--all"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0
