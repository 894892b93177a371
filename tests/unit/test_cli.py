"""The `warmscale` command: forgetting runs, printing the schema."""

import json

import pytest

from warmscale import cli

KNOWN = ["mb32-w1-lr0.06-up0-s1-b7b15fe80edf", "mb640-w20-lr1.2-up7-s1-6e2ee0d867bf"]


@pytest.fixture
def results(tmp_path):
    """Two studies with two runs each; the second run of `digits` is not published yet."""
    for study in ("digits", "poster"):
        for kind in ("state", "runs"):
            for run_id in KNOWN:
                (tmp_path / study / kind / run_id / "logs").mkdir(parents=True)
                (tmp_path / study / kind / run_id / "epochs.csv").write_text("x")
    folder = tmp_path / "digits/runs" / KNOWN[1]
    (folder / "epochs.csv").unlink()
    (folder / "logs").rmdir()
    folder.rmdir()
    return tmp_path


def forget(results, *words):
    return cli.main(["forget", "--results", str(results), *words])


def left(results):
    return {str(path.relative_to(results)) for path in results.glob("*/*/*")}


def test_forget_deletes_state_and_published_files_in_every_study(results, capsys):
    before = left(results)
    assert forget(results, KNOWN[0]) == 0
    gone = {f"{study}/{kind}/{KNOWN[0]}" for study in ("digits", "poster") for kind in ("state", "runs")}
    assert left(results) == before - gone
    assert set(capsys.readouterr().out.splitlines()) == {f"deleted {results}/{path}" for path in gone}


def test_forget_in_one_study_leaves_the_others_alone(results):
    before = left(results)
    assert forget(results, KNOWN[0], "--study", "digits") == 0
    assert before - left(results) == {f"digits/state/{KNOWN[0]}", f"digits/runs/{KNOWN[0]}"}


def test_forget_takes_a_run_that_is_not_published_yet(results):
    before = left(results)
    assert forget(results, KNOWN[1], "--study", "digits") == 0
    assert before - left(results) == {f"digits/state/{KNOWN[1]}"}


def test_forget_takes_several_runs(results):
    assert forget(results, *KNOWN) == 0
    assert left(results) == set()


def test_an_unknown_run_is_one_line_with_the_nearest_known_one(results, capsys):
    before = left(results)
    assert forget(results, "mb640-w20-lr1.2-up7-s1-6e2e") == 1
    assert capsys.readouterr().err == (
        f"warmscale: mb640-w20-lr1.2-up7-s1-6e2e is no run under {results}; did you mean {KNOWN[1]}?\n"
    )
    assert left(results) == before


def test_an_unknown_run_of_a_study_is_one_line_with_the_studys_folder(results, capsys):
    assert forget(results, KNOWN[0], "--study", "none") == 1
    assert capsys.readouterr().err == f"warmscale: {KNOWN[0]} is no run under {results}/none\n"


def test_forget_without_results_is_one_line(tmp_path, capsys):
    assert forget(tmp_path / "none", KNOWN[0]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_is_forgotten_when_one_of_the_runs_is_unknown(results):
    before = left(results)
    assert forget(results, KNOWN[0], "mb1-none") == 1
    assert left(results) == before


def test_a_part_of_a_run_id_or_a_path_is_no_run(results):
    before = left(results)
    for words in ["mb32*", "..", f"../digits/state/{KNOWN[0]}", ""]:
        assert forget(results, words) == 1
    assert left(results) == before


def test_schema_is_printed_as_json(capsys):
    assert cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A study"


@pytest.mark.parametrize("words", [[], ["forget"], ["train"]])
def test_a_wrong_command_line_is_explained_and_no_success(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: warmscale")
