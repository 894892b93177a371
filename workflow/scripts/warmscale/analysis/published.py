"""Reads the published files of many runs at once, and writes tables as CSV and Parquet."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..records import OUTCOMES, STATES, rows_to_csv, write_atomic
from .unpublished import is_published, unpublished_run

CHUNK_BYTES = 32 * 2**20
"""Text that is parsed at once: 10,000 runs are read with the memory of one chunk."""

UNQUOTED = pa.csv.WriteOptions(quoting_style="none", quoting_header="none")


@dataclass(frozen=True)
class Records:
    """What is known of the runs of a study at one moment."""

    outcomes: Mapping[str, Mapping[str, Any]]
    """{run_id: run.json} of the published runs."""
    others: Mapping[str, Mapping[str, Any]]
    """{run_id: what its private state tells} of the runs that published nothing."""

    @property
    def missing(self) -> list[Mapping[str, Any]]:
        """The records of the runs without a result, failed ones first."""
        found = [record for record in self.all.values() if record["state"] not in OUTCOMES]
        return sorted(found, key=lambda record: (-STATES.index(record["state"]), record["run_id"]))

    @property
    def all(self) -> dict[str, Mapping[str, Any]]:
        """{run_id: record} of every run."""
        return {**self.outcomes, **self.others}


def read_records(run_ids: Collection[str], results: Path) -> Records:
    """What is under results/<study> of these runs."""
    folders = {run_id: results / "runs" / run_id for run_id in run_ids}
    now = time.time()
    published = {run_id: folder / "run.json" for run_id, folder in folders.items() if is_published(folder)}
    return Records(
        outcomes={run_id: json.loads(path.read_bytes()) for run_id, path in published.items()},
        others={run_id: unpublished_run(results, run_id, now) for run_id in run_ids if run_id not in published},
    )


def read_csvs(paths: Iterable[Path], schema: pa.Schema, chunk_bytes: int = CHUNK_BYTES) -> Iterator[pa.Table]:
    """Rows of many CSV files in the order of the files, some MiB at a time; columns that a file lacks are empty.

    Thousands of small files: reading each with a parser of its own takes minutes, parsing their joined text seconds.
    """
    for header, texts in _joined(paths, chunk_bytes):
        yield pa.csv.read_csv(
            pa.BufferReader(b"".join([header, b"\n", *texts])),
            convert_options=pa.csv.ConvertOptions(
                column_types=schema,
                include_columns=schema.names,
                include_missing_columns=True,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )


def _joined(paths: Iterable[Path], chunk_bytes: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """(header, bodies) of neighbouring files with the same header, each about chunk_bytes long."""
    parts = (path.read_bytes().partition(b"\n") for path in paths if path.exists())
    for header, group in groupby(parts, key=lambda part: part[0]):
        bodies, size = [], 0
        for _, _, body in group:
            bodies.append(body[: body.rfind(b"\n") + 1])  # a last line that a crash cut off is left out
            size += len(body)
            if size >= chunk_bytes:
                yield header, bodies
                bodies, size = [], 0
        if size:
            yield header, bodies


def write_measured(tables: Iterable[pa.Table], schema: pa.Schema, stem: Path) -> None:
    """Write tables of numbers and ids one after the other to <stem>.csv and <stem>.parquet, never all in memory."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    csv_path, parquet_path = stem.with_suffix(".csv"), stem.with_suffix(".parquet")
    with (
        pa.csv.CSVWriter(csv_path, schema, write_options=UNQUOTED) as csv,
        pa.parquet.ParquetWriter(parquet_path, schema) as parquet,
    ):
        for table in tables:
            csv.write_table(table)
            parquet.write_table(table)


def write_described(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, stem: Path) -> None:
    """Write rows of any text to <stem>.csv and <stem>.parquet."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    write_atomic(stem.with_suffix(".csv"), rows_to_csv(table.to_pylist(), schema.names))
    pa.parquet.write_table(table, stem.with_suffix(".parquet"))
