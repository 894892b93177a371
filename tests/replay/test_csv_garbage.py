"""Whatever stands in a CSV file: tables or a ReplayError come of it, never another exception."""

import csv
import io
import math

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from warmscale.replay import ReplayError

from .reading import read

SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
LEVELS = st.sampled_from(["none", "gradual", "constant", "0.5", "5", "a b", 'say "x"', "x;y", "x, y", "ü"])
NAMES = [
    "top1",
    "seed",
    "n",
    "mean",
    "sd",
    "epoch",
    "lr",
    "run_id",
    "state",
    "metric",
    "x",
    "",
    "diverged",
    "device_name",
]
SCRAPS = st.sampled_from(
    [",", ";", "\t", "\n", "\r\n", '"', "#", "1", "0.5", "76.1", "-1", "nan", "inf", "1e400", *NAMES]
)


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 10**6), LEVELS, st.floats(1.5, 100), st.integers(1, 9)),
        min_size=1,
        unique_by=lambda row: row[:2] + row[3:],
    ),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
)
@SETTINGS
def test_tables_come_back_as_they_were_written(tmp_path, rows, delimiter, end, bom):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerows([("mini_batch_size", "warmup", "top1", "seed"), *rows])
    path = tmp_path / "runs.csv"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
    runs = read(runs=path, referenced=["mini_batch_size", "warmup"]).runs
    assert runs.mini_batch_size.tolist() == [row[0] for row in rows]
    numbers = all(row[1] in ("0.5", "5") for row in rows)
    assert runs.warmup.tolist() == [float(row[1]) if numbers else row[1] for row in rows]
    assert runs.top1.tolist() == [row[2] for row in rows]
    assert runs.seed.tolist() == [row[3] for row in rows]
    assert runs.run_id.is_unique


@given(text=st.lists(SCRAPS | st.text(max_size=3), max_size=60).map("".join) | st.binary(max_size=60))
@SETTINGS
def test_garbage_is_refused_in_lines_or_read(tmp_path, text):
    path = tmp_path / "file.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    for source in ("cells", "runs", "epochs", "mllog"):
        refused_or_read(**{source: path})


@given(
    header=st.lists(st.sampled_from(NAMES), min_size=2, max_size=8, unique=True),
    rows=st.lists(st.lists(SCRAPS, min_size=8, max_size=8), min_size=1, max_size=6),
)
@SETTINGS
def test_wrong_values_are_refused_in_lines_or_read(tmp_path, header, rows):
    assume("top1" in header or "mean" in header)
    path = tmp_path / "file.csv"
    text = io.StringIO()
    csv.writer(text).writerows([header, *(row[: len(header)] for row in rows)])
    path.write_bytes(text.getvalue().encode())
    for source in ("cells", "runs", "epochs"):
        refused_or_read(**{source: path})


def refused_or_read(**source):
    try:
        imported = read(**source)
    except ReplayError as error:
        assert error.lines and all("\n" not in line for line in error.lines)
    else:
        assert imported.runs.run_id.is_unique
        assert all(math.isnan(value) or 0 <= value <= 100 for value in (*imported.runs.top1, *imported.cells["mean"]))
