"""A checkout of the workflow in a folder of its own, and Snakemake run in it as a user would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]

TINY = {
    "study": "tiny",
    "dataset": {
        "name": "digits",
        "root": "data/digits",
        "num_train_images": 1280,
        "num_val_images": 517,
        "num_classes": 10,
        "image_size": 16,
        "val_resize": 16,
    },
    "recipe": {
        "model": "resnet8",
        "epochs": 2,
        "workers": 4,
        "mini_batch_size": 320,
        "base_lr": 0.02,
        "decay": {"epochs": [1]},
        "augmentation": "none",
    },
    "experiments": [
        {"name": "warmup", "grid": {"warmup_epochs": [0, 1]}, "figures": ["curves", "final"]},
        {"name": "scaling", "recipe": {"warmup_epochs": 1}, "grid": {"lr_scaling.rule": ["linear", "none"]}},
    ],
}
"""Three runs: one of them in both experiments."""


class Checkout:
    """A copy of the workflow with a study in it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def snakemake(self, *words: str, profile: bool = True) -> subprocess.CompletedProcess:
        """Run `snakemake` here, with the local profile."""
        profiled = ["--profile", "profiles/local", "--cores", "2"] if profile else []
        return self.run(sys.executable, "-m", "snakemake", *profiled, *words)

    def run(self, *words: str) -> subprocess.CompletedProcess:
        """Run a command here, its standard output and error as one text."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
            check=False,
        )

    def jobs(self, *words: str) -> dict[str, int]:
        """{rule: jobs} that a call would run."""
        done = self.snakemake("-n", *words)
        assert done.returncode == 0, done.stdout
        return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE)}

    def write(self, study: dict[str, Any], name: str = "config/config.yaml") -> None:
        """Write a study's config, by default the one that is run without being named."""
        (self.folder / name).write_text(yaml.safe_dump(study, sort_keys=False))


def make_checkout(folder: Path) -> Checkout:
    """Copy what the workflow consists of."""
    for name in ("workflow", "config", "profiles"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "lsf").symlink_to("profiles/lsf")
    return Checkout(folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh checkout: the poster's study is its default."""
    return make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose tiny study is finished; copy it, do not change it."""
    made = make_checkout(tmp_path_factory.mktemp("finished") / "checkout")
    made.write(TINY)
    done = made.snakemake()
    assert done.returncode == 0, done.stdout
    return made.folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Checkout:
    """A checkout of one's own whose tiny study is finished."""
    shutil.copytree(finished_once, tmp_path / "checkout", symlinks=True)
    return Checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def tiny() -> Callable[..., dict[str, Any]]:
    """The tiny study with top-level keys, and keys of its recipe, changed."""

    def changed(recipe: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
        return {**TINY, "recipe": {**TINY["recipe"], **(recipe or {})}, **keys}

    return changed
