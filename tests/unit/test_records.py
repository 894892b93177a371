"""Rows and files: every bit of a float comes back, and a crash leaves the old text or the new one."""

import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.records import (
    EPOCH_COLUMNS,
    FAILURE_CLASSES,
    GRADIENT_COLUMNS,
    STATES,
    STEP_COLUMNS,
    TIMING_COLUMNS,
    StateFolder,
    append_line,
    append_rows,
    count_failures,
    keep_rows,
    read_json,
    read_lines,
    read_rows,
    rows_to_csv,
    write_atomic,
    write_json,
)

COLUMNS = ("run_id", "epoch", "top1")


def rows(*epochs):
    return [{"run_id": "r", "epoch": epoch, "top1": epoch / 3} for epoch in epochs]


def read_epochs(path):
    return [int(row["epoch"]) for row in read_rows(path)]


@given(st.lists(st.floats()))
def test_floats_come_back_bit_by_bit(values):
    text = rows_to_csv(({"a": 1, "b": value} for value in values), ["a", "b"])
    back = [float(line.split(",")[1]) for line in text.splitlines()[1:]]
    assert [value.hex() for value in back] == [value.hex() for value in values]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), min_size=1))
def test_text_comes_back_with_commas_quotes_and_line_ends(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    append_rows(path, [{"a": value, "b": 1} for value in values], ["a", "b"])
    assert [row["a"] for row in read_rows(path)] == values


def test_a_missing_value_is_empty_and_an_unknown_one_is_left_out():
    assert rows_to_csv([{"epoch": 1, "top1": None, "other": 5}], COLUMNS) == "run_id,epoch,top1\n,1,\n"


def test_appended_rows_share_one_header(tmp_path):
    path = tmp_path / "new/epochs.csv"
    append_rows(path, rows(1), COLUMNS)
    append_rows(path, [], COLUMNS)
    append_rows(path, rows(2, 3), COLUMNS)
    assert path.read_text() == rows_to_csv(rows(1, 2, 3), COLUMNS)
    assert read_epochs(path) == [1, 2, 3]


@pytest.mark.parametrize("torn", ["r", "r,4,", "r,4,1.33333"])
def test_a_torn_last_line_is_ignored(tmp_path, torn):
    path = tmp_path / "epochs.csv"
    path.write_text(rows_to_csv(rows(1, 2, 3), COLUMNS) + torn)
    assert read_epochs(path) == [1, 2, 3]


def test_a_torn_header_is_no_row(tmp_path):
    (tmp_path / "epochs.csv").write_text("run_id,ep")
    assert read_rows(tmp_path / "epochs.csv") == []


def test_kept_rows_are_those_up_to_the_limit_without_the_torn_one(tmp_path):
    path = tmp_path / "epochs.csv"
    path.write_text(rows_to_csv(rows(1, 2, 3, 10), COLUMNS) + "r,1")
    keep_rows(path, COLUMNS, "epoch", 3)
    assert path.read_text() == rows_to_csv(rows(1, 2, 3), COLUMNS)
    append_rows(path, rows(4), COLUMNS)
    assert read_epochs(path) == [1, 2, 3, 4]


def test_kept_rows_are_the_same_bytes_as_before(tmp_path):
    path = tmp_path / "epochs.csv"
    append_rows(path, rows(1, 2, 3), COLUMNS)
    before = path.read_bytes()
    keep_rows(path, COLUMNS, "epoch", 3)
    assert path.read_bytes() == before


def test_no_file_has_no_rows_and_none_to_keep(tmp_path):
    keep_rows(tmp_path / "none.csv", COLUMNS, "epoch", 3)
    assert read_rows(tmp_path / "none.csv") == []
    assert not (tmp_path / "none.csv").exists()


def test_a_file_is_replaced_whole_and_nothing_is_left_behind(tmp_path):
    path = tmp_path / "deep/run.json"
    write_atomic(path, "old")
    reader = path.open()
    write_atomic(path, "new text")
    assert reader.read() == "old"
    assert path.read_text() == "new text"
    assert os.listdir(path.parent) == ["run.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_text_and_no_temporary_file(tmp_path, monkeypatch, step):
    path = tmp_path / "run.json"
    write_atomic(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_text_is_on_disk_before_it_takes_the_files_place(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("replace") or replace(*paths))
    write_atomic(tmp_path / "a", "x")
    assert order == ["fsync", "replace"]


def test_a_file_has_the_permissions_of_the_users_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", "x")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_json_comes_back_and_a_missing_file_is_none(tmp_path):
    value = {"b": [1, 0.1, None], "a": {"x": "é"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert (tmp_path / "a.json").read_text() == json.dumps(value, indent=2, sort_keys=True) + "\n"
    assert read_json(tmp_path / "none.json") is None


def test_lines_come_back_without_a_torn_last_one(tmp_path):
    path = tmp_path / "deep/attempts.jsonl"
    assert read_lines(path) == []
    for number in range(3):
        append_line(path, {"b": number, "a": "x"})
    with path.open("a") as file:
        file.write('{"a": "x", "b"')
    assert read_lines(path) == [{"a": "x", "b": number} for number in range(3)]


def test_lines_after_a_torn_one_are_read(tmp_path):
    path = tmp_path / "attempts.jsonl"
    append_line(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": {"b"')
    append_line(path, {"a": 2})
    assert {"a": 2} in read_lines(path)


def test_failures_of_a_run_are_counted(tmp_path):
    state = StateFolder(tmp_path / "run")
    assert count_failures(state) == 0
    for name in ("failed", "paused", "failed", "finished"):
        append_line(state.attempts, {"state": name})
    assert count_failures(state) == 2


def test_files_of_a_state_folder_have_the_names_of_the_design(tmp_path):
    state = StateFolder(tmp_path)
    files = ["checkpoints", "epochs", "steps", "progress", "attempts", "outcome", "failure", "environment", "content"]
    assert [str(getattr(state, name).relative_to(tmp_path)) for name in files] == [
        *("checkpoint", "epochs.csv", "steps.csv", "progress.json", "attempts.jsonl", "outcome.json"),
        *("failure.json", "environment.json", "content.json"),
    ]
    assert state.log(3) == tmp_path / "logs/rank3.log"


def test_columns_and_states_are_those_of_the_design():
    design = "run_id epoch step learning_rate train_loss train_top1 val_loss top1 top5 images_per_sec train_sec"
    columns = f"{design} eval_sec data_wait_sec peak_memory_mib images_seen {' '.join(GRADIENT_COLUMNS)} noise_scale"
    assert sorted(EPOCH_COLUMNS) == sorted(columns.split(" "))
    assert set(TIMING_COLUMNS) < set(EPOCH_COLUMNS)
    last = len(GRADIENT_COLUMNS)  # behind all others: files of before are read as beginnings of rows
    assert STEP_COLUMNS[-last:] == EPOCH_COLUMNS[-last - 1 : -1] == GRADIENT_COLUMNS
    assert len(set(STEP_COLUMNS)) == len(STEP_COLUMNS)
    assert ", ".join(STATES) == "pending, running, paused, finished, diverged, failed"
    classes = "walltime, out_of_memory, communication, node, data, config, audit, duplicate, bug, unknown"
    assert ", ".join(FAILURE_CLASSES) == classes
