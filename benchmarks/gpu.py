"""ResNet-50 on one GPU: ours through the real loop, against plain PyTorch and timm, and against its own loader.

    python benchmarks/gpu.py search    ours and rivals over their settings, at 256, 128 and 32 images a step
    python benchmarks/gpu.py jpegs     packed JPEGs through the loader, and the same run from memory
    python benchmarks/gpu.py recipe    200 steps of the poster's largest run: 240 workers of 128 on one device
    ... [--device cpu] [--quick] [--minutes 9] [--out FOLDER] [--fresh]

Each ends within --minutes with what it has, and goes on from there when called again: search from the rows of
gpu_search.csv, recipe from its checkpoint in build/. With --quick everything is small, and nothing is written. Only
torch >= 2.11 with CUDA, deepspeed, timm and what warmscale needs must be there.

search writes gpu_search.csv, a row a setting, with what went wrong where it did, and then gpu.csv, in which the fastest
settings of ours take turns with the fastest rival of the same images a step and precision. Competitors of a group are
processes that are on the device at the same time and take turns: a block of steps each, the others wait.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import common
from gpu_cases import IMAGES, case_of
from gpu_search import read_rows, search
from gpu_turns import rate

TARGET_OF_SMALLER = 0.95
TOGETHER = 3
"""Competitors on the device at once: memory for their activations, and cores for their compilers."""


def in_process(what: str, options: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The answer of gpu_runs.py, whose own words go to standard error."""
    command = [common.PYTHON, str(Path(__file__).parent / "gpu_runs.py"), what, json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=seconds, check=False)
    *said, answer = done.stdout.splitlines() or [""]
    print(*said, sep="\n", file=sys.stderr)
    if done.returncode:
        sys.exit(f"{what}: failed: {answer}")
    return json.loads(answer)


def fastest_placement(given: argparse.Namespace, images: int) -> dict[str, Any]:
    """Of ours as measured by search, not deterministic; the defaults where there is none."""
    rows = [row for row in read_rows("gpu_search") if row["loop"] == "ours" and row["engine"] == "deepspeed"]
    rows = [row for row in rows if int(row["images"]) == images and row["workers"] == "1" and rate(row)]
    placement: dict[str, Any] = {"device": given.device, "deterministic": False}
    if rows and not given.quick:
        case = case_of(max(rows, key=rate))
        placement |= {"compile": case.compile, "cuda_graphs": case.cuda_graphs, "deterministic": not case.benchmark}
        placement |= {"channels_last": case.channels_last, "fused_optimizer": case.fused}
    return placement


def jpegs(given: argparse.Namespace) -> None:
    """Packed JPEGs against the smaller of synthetic and loader."""
    images, mini_batch, size, model = (64, 8, 32, "resnet18") if given.quick else (given.jpegs, 256, 224, "resnet50")
    options = {"images": images, "mini_batch_size": mini_batch, "image_size": size, "model": model}
    options |= {"device": given.device, "rounds": 1 if given.quick else 3}
    options |= {"placement": fastest_placement(given, mini_batch)}
    with tempfile.TemporaryDirectory(prefix="warmscale-gpu-") as folder:
        answer = in_process("jpegs", {**options, "folder": folder}, 60 * given.minutes)
    medians = {name: statistics.median(rates) for name, rates in answer["rates"].items()}
    ratio = medians["jpegs"] / min(medians["synthetic"], medians["loader"])
    row = {
        "model": model,
        "images_of_data_set": images,
        "mini_batch_size": mini_batch,
        "cores": answer["cores"],
        "placement": json.dumps(options["placement"]),
        **{f"{name}_images_per_sec": round(value, 1) for name, value in medians.items()},
        **{f"{name}_min": round(min(rates), 1) for name, rates in answer["rates"].items()},
        **{f"{name}_max": round(max(rates), 1) for name, rates in answer["rates"].items()},
        "waiting_share": round(answer["waiting_share"], 4),
        "ratio_to_smaller": round(ratio, 3),
        "target_ratio": TARGET_OF_SMALLER,
        "meets_target": ratio >= TARGET_OF_SMALLER,
    }
    print(json.dumps(row)) if given.quick else common.write_results("gpu_jpegs", [row])


def recipe(given: argparse.Namespace) -> None:
    """Steps of the poster's run at 30,720; pauses at the end of its minutes and goes on when called again."""
    folder = common.REPOSITORY / f"build/gpu-recipe-{given.precision}"
    placement = {"device": given.device, "deterministic": False, "workers_per_pass": given.workers_per_pass}
    placement |= {"audit_every_steps": 1, "compile": given.compile}
    options = {"folder": str(folder), "steps": given.steps, "device": given.device, "placement": placement}
    options |= {"seconds": 60 * given.minutes - 90, "recipe": {"precision": given.precision}, "dataset": {}}
    if given.quick:
        small = {"model": "resnet8", "workers_as": {"nodes": 4, "per_node": 2}, "mini_batch_size": 32}
        options["recipe"] |= small
        options |= {"dataset": {"num_train_images": 96, "num_val_images": 10, "image_size": 16, "val_resize": 18}}
        options |= {"steps": 5, "seconds": 1e9}
        with tempfile.TemporaryDirectory(prefix="warmscale-gpu-") as temporary:
            first = in_process("recipe", {**options, "folder": temporary, "steps": 2}, 600)
            row = in_process("recipe", {**options, "folder": temporary}, 600)
        assert (first["steps_done"], row["steps_done"], row["steps_now"]) == (2, 5, 3)
    else:
        row = in_process("recipe", options, 60 * given.minutes + 60)
    row |= {"precision": given.precision, "compile": given.compile, "steps_wanted": options["steps"]}
    row["audit_is_clean"] = row["distinct_images_wrong"] == row["rates_wrong"] == 0
    print(json.dumps(row)) if given.quick else common.write_results("gpu_recipe", [row])
    if row["steps_done"] < options["steps"]:
        print(f"recipe: {row['steps_done']} of {options['steps']} steps; call it again")


def main() -> None:
    """Carry out a sub-command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "jpegs", "recipe"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="small, and nothing is written")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=common.RESULTS, help="folder for the CSV files")
    parser.add_argument("--fresh", action="store_true", help="search: measure again what was measured")
    parser.add_argument("--images", type=int, nargs="+", default=list(IMAGES), help="search: of a step")
    parser.add_argument("--together", type=int, default=TOGETHER, help="search: competitors on the device at once")
    parser.add_argument("--jpegs", type=int, default=10240, help="jpegs: of the data set")
    parser.add_argument("--steps", type=int, default=200, help="recipe")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="recipe; the poster's: fp32")
    parser.add_argument("--workers-per-pass", type=int, default=1, help="recipe")
    parser.add_argument("--compile", default="none", help="recipe: as placement.compile")
    given = parser.parse_args()
    common.RESULTS = given.out
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    {"search": search, "jpegs": jpegs, "recipe": recipe}[given.what](given)


if __name__ == "__main__":
    main()
