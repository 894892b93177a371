"""Small trainings on real ranks: a tree of PNGs, contents made from a config, ranks started as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

from warmscale.study import Run, load_study
from warmscale.training.tree import index_text, list_tree

LAB = Path(__file__).parent / "ranks_lab.py"
SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
TRAIN_IMAGES, VAL_IMAGES, CLASSES = 330, 43, 5
SETTINGS = {
    "engine": "deepspeed",
    "zero_stage": 0,
    "device": "cpu",
    "loader_threads": 0,
    "deterministic": True,
    "workers_per_pass": 1,
    "channels_last": "auto",
    "fused_optimizer": "auto",
    "compile": "none",
    "cuda_graphs": False,
    "checkpoint_minutes": None,
    "audit_every_steps": 3,
    "gradients": True,
    "gradients_every_steps": 2,
    "gradients_first_epochs": 0,
    "keep_weights": False,
}


def make_tree(root: Path, *, train: int = TRAIN_IMAGES, val: int = VAL_IMAGES, classes: int = CLASSES) -> Path:
    """An ImageFolder tree of noisy 12 x 10 PNGs whose brightness tells the class."""
    noise = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            label = number % classes
            pixels = np.clip(noise.normal(40 + 40 * label, 30, (10, 12, 3)), 0, 255).astype(np.uint8)
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return root


def small_run(*, seed: int = 1, **recipe: Any) -> Run:
    """A run on that tree: 20 workers of 4 images, 4 steps an epoch, 2 epochs."""
    common = {
        "model": "resnet8",
        "epochs": 2,
        "workers": 20,
        "mini_batch_size": 80,
        "base_lr": 0.02,
        "warmup_epochs": 1,
        "decay": {"epochs": [1.5]},
        "optimizer": {"weight_decay": 1.0e-3},
    }
    dataset = {
        "name": "noise",
        "root": "unused",
        "num_train_images": TRAIN_IMAGES,
        "num_val_images": VAL_IMAGES,
        "num_classes": CLASSES,
        "image_size": 8,
        "val_resize": 9,
    }
    experiment = {"name": "lab", "extra": [{"point": {}, "seeds": [seed]}]}
    study = load_study(
        {"study": "lab", "dataset": dataset, "recipe": {**common, **recipe}, "experiments": [experiment]}
    )
    return next(iter(study.runs.values()))


def make_lab(folder: Path) -> Path:
    """A folder with a tree and its index."""
    make_tree(folder / "tree")
    (folder / "index.tsv").write_text(index_text(list_tree(folder / "tree")))
    return folder


def experiment(name: str, run: Run, *, sabotage: str | None = None, **settings: Any) -> dict[str, Any]:
    """What the ranks are told to do."""
    content = json.loads(run.content_json())
    return {"name": name, "content": content, "settings": SETTINGS | settings, "sabotage": sabotage}


def run_ranks(folder: Path, world_size: int, experiments: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Carry out experiments on some ranks and return {name: notes of each rank}."""
    (folder / "experiments.json").write_text(json.dumps(experiments))
    for each in experiments:
        (folder / each["name"] / "state").mkdir(parents=True)
    processes = [
        subprocess.Popen(
            [sys.executable, str(LAB), str(folder)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(LAB.parent)]),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world_size),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(outputs)
    return {
        each["name"]: [torch.load(folder / each["name"] / f"rank{rank}.pt") for rank in range(world_size)]
        for each in experiments
    }


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tree and its index."""
    return make_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def only_rank():
    """A process group of this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()
