"""Rows of the table of throughput, as measurements on a made-up machine would give them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from warmscale.analysis.throughput_table import THROUGHPUT

GRADIENT_BYTES = 102_228_128
RATE = 300.0
"""Images a second of a rank, computing alone."""
COMMUNICATION_SEC = 0.02
SAID = {
    "experiments": "scaling",
    "model": "resnet50",
    "image_size": 224,
    "precision": "fp32",
    "device_name": "V100",
    "data": "synthetic",
    "engine": "deepspeed",
    "zero_stage": 0,
    "workers_per_pass": 1,
    "channels_last": True,
    "compile": "none",
    "cuda_graphs": False,
    "deterministic": True,
    "failure_class": None,
    "steps": 40,
    "parameters": 25_557_032,
    "gradient_bytes": GRADIENT_BYTES,
    "all_reduces": 5,
    "node_hours": 0.1,
    "attempts": 1,
}


def measured(
    nodes: int,
    batch: int,
    repeat: int = 1,
    *,
    a_node: int = 1,
    workers: int | None = None,
    state: str = "finished",
    slower: float = 1.0,
    wider: float = 0.0,
    **said: Any,
) -> dict[str, Any]:
    """One measurement: a rank computes at RATE, and averaging takes COMMUNICATION_SEC beside it, on several ranks.

    slower: its step takes so many times as long; wider: averaging takes so much longer when ranks double. Repeats
    differ by a percent.
    """
    ranks = nodes * a_node
    workers = workers or ranks
    computation = workers // ranks * batch / RATE
    communication = COMMUNICATION_SEC * (1 + wider * math.log2(ranks)) if ranks > 1 else None
    step_sec = (computation + (communication or 0.0)) * slower * (1 + 0.01 * (repeat - 2))
    row = SAID | {
        "measurement_id": f"tp-n{nodes}x{a_node}-w{workers}-b{batch}-r{repeat}",
        "nodes": nodes,
        "ranks_per_node": a_node,
        "ranks": ranks,
        "workers": workers,
        "worker_batch_size": batch,
        "mini_batch_size": workers * batch,
        "workers_per_rank": workers // ranks,
        "repeat": repeat,
        "state": state,
    }
    times = {
        "step_sec": step_sec,
        "step_sec_low": 0.98 * step_sec,
        "step_sec_high": 1.03 * step_sec,
        "images_per_sec": workers * batch / step_sec,
        "computation_sec": computation,
        "communication_sec": communication,
        "exposed_sec": max(0.0, step_sec - computation),
        "computation_to_communication": computation / communication if communication else None,
        "overlap": 0.0 if communication else None,
        "data_wait_sec": 0.0,
    }
    return {**row, **(times if state == "finished" else dict.fromkeys(times)), **said}


def throughput_of(
    nodes: Sequence[int] = (1, 2, 4), batches: Sequence[int] = (16, 64), repeats: int = 3, **said: Any
) -> pd.DataFrame:
    """The table of a grid of these."""
    rows = [measured(*point, **said) for point in itertools.product(nodes, batches, range(1, repeats + 1))]
    return table_of(rows)


def table_of(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as the table has them."""
    return pa.Table.from_pylist(list(rows), schema=THROUGHPUT).to_pandas()
