"""Config files are read strictly, where YAML itself is silent."""

from __future__ import annotations

import pytest
import yaml

from warmscale import cli
from warmscale.config_files import read_config
from warmscale.study import StudyError


def lines(tmp_path, text: str) -> list[str]:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(StudyError) as raised:
        read_config(tmp_path / "study.yaml")
    return raised.value.lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seeds: 1\nseeds: 2\n", "seeds: stands twice, in lines 1 and 2"),
        ("recipe:\n  epochs: 1\n  base_lr: 1\n  epochs: 2\n", "recipe.epochs: stands twice, in lines 2 and 4"),
        ("experiments:\n- {name: a}\n- {name: b, grid: {x: [1], x: [2]}}\n", None),
        (
            "study: a\n\tseeds: 1\n",
            "line 2, column 1: no valid YAML: found character '\\t' that cannot start any token",
        ),
        ("study: {a\n", None),
        ("", "is no mapping; a config begins with `study: <name>`"),
        ("- a\n", "is no mapping; a config begins with `study: <name>`"),
    ],
)
def test_what_yaml_is_vague_about_is_one_line(tmp_path, text, line):
    (found,) = lines(tmp_path, text)
    assert "\n" not in found
    assert line in (found, None)


def test_a_key_repeated_deep_down_is_named_by_its_path(tmp_path):
    found = lines(tmp_path, "experiments:\n- name: a\n- grid: {x: [1], x: [2]}\n")
    assert found == ["experiments[1].grid.x: stands twice, in lines 3 and 3"]


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(StudyError, match="cannot be read: No such file or directory"):
        read_config(tmp_path / "none.yaml")


def test_what_is_read_is_what_yaml_says(tmp_path):
    (tmp_path / "study.yaml").write_text("a: [1, 2.5, {b: x}]\nc: null\n")
    assert read_config(tmp_path / "study.yaml") == yaml.safe_load("a: [1, 2.5, {b: x}]\nc: null\n")


def test_check_tells_what_a_config_would_train(capsys):
    assert cli.main(["check", str(cli.REFERENCE.parents[1] / "config/config.yaml")]) == 0
    assert "study poster, 39 runs and 60 measurements for the experiments baseline, " in capsys.readouterr().out


def test_check_names_the_file_with_every_mistake(tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_text("study: a\nsedes: 3\n")
    assert cli.main(["check", str(path)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert f"{path}: sedes: is not a known key: did you mean seeds?" in errors
    assert all(line.startswith(f"{path}: ") for line in errors)
