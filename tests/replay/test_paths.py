import pytest

from .reading import errors_of, read, write


def test_names_in_a_path_become_columns(tmp_path):
    for size, warmup, seed in [(256, "0.5", 1), (256, "none", 2), (8192, "none", 1)]:
        write(tmp_path / f"logs/mb{size}/w{warmup}/seed{seed}.csv", "epoch,top1", f"1,{seed + 70}")
    pattern = tmp_path / "logs/mb{mini_batch_size}/w{warmup}/seed{seed}.csv"
    runs = read(epochs=pattern).runs.sort_values("top1")
    assert sorted(runs.mini_batch_size) == [256, 256, 8192]
    assert sorted(runs.warmup) == ["0.5", "none", "none"]
    assert sorted(runs.seed) == [1, 1, 2]


def test_a_name_stands_for_no_more_than_one_part_of_a_path(tmp_path):
    write(tmp_path / "a/b/x.csv", "lr,top1", "0.1,76")
    assert "matches no file" in errors_of(runs=tmp_path / "{name}/x.csv")[0]


def test_a_name_that_stands_twice_must_match_the_same(tmp_path):
    for name in ("a/a.csv", "a/b.csv"):
        write(tmp_path / name, "lr,top1", "0.1,76")
    runs = read(runs=tmp_path / "{rule}/{rule}.csv").runs
    assert len(runs) == 1 and runs.rule[0] == "a"


@pytest.mark.parametrize("pattern", ["**/x?.csv", "[ab]/x1.csv", "*/x1.csv"])
def test_globs_find_files_in_order(tmp_path, pattern):
    for folder, lr in [("b", 0.2), ("a", 0.1)]:
        write(tmp_path / folder / "x1.csv", "lr,top1", f"{lr},76")
    assert list(read(runs=tmp_path / pattern).runs.lr) == [0.1, 0.2]


def test_paths_are_relative_to_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path / "x.csv", "lr,top1", "0.1,76")
    monkeypatch.chdir(tmp_path)
    assert read(runs="x.csv").runs.source[0] == "x.csv"


def test_path_with_brackets_is_no_glob(tmp_path):
    assert len(read(runs=write(tmp_path / "x[1].csv", "lr,top1", "0.1,76")).runs) == 1


def test_missing_files_are_all_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    advice = "correct the path, which is relative to the working directory"
    assert errors_of(runs=["none.csv", "none/*.csv"]) == [
        f"replay.runs: none.csv does not exist below {tmp_path}: {advice}",
        f"replay.runs: none/*.csv matches no file below {tmp_path}: {advice}",
    ]


def test_folder_is_no_csv(tmp_path):
    (tmp_path / "x.csv").mkdir()
    assert errors_of(runs=tmp_path / "x.csv") == [f"{tmp_path / 'x.csv'}: cannot be read: Is a directory"]
