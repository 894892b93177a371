"""How CSV files may be written, and what is said about those that are none."""

import pytest

from .reading import errors_of, read, write


def text_file(tmp_path, content: bytes):
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"lr,seed,top1\n0.1,1,76.1\n0.2,1,75.9\n",
        b"\xef\xbb\xbflr,seed,top1\r\n0.1,1,76.1\r\n0.2,1,75.9\r\n",
        b"lr;seed;top1\n0.1;1;76.1\n0.2;1;75.9",
        b"lr\tseed\ttop1\n0.1\t1\t76.1\n0.2\t1\t75.9\n",
        b"# by hand\n\n lr , seed , top1\n\n0.1, 1, 76.1\n# the second\n0.2, 1, 75.9\n\n",
        b'"lr","seed","top1"\n"0.1","1","76.1"\n"0.2","1","75.9"\n,,\n',
        b"lr,seed,top1\r0.1,1,76.1\r0.2,1,75.9\r",
        b",lr,seed,top1\n0,0.1,1,76.1\n1,0.2,1,75.9\n",
    ],
    ids=["plain", "bom-crlf", "semicolon", "tab", "comments", "quoted", "cr", "index"],
)
def test_ways_to_write_a_file_mean_the_same(tmp_path, content):
    runs = read(runs=text_file(tmp_path, content)).runs
    assert runs[["lr", "seed", "top1"]].values.tolist() == [[0.1, 1, 76.1], [0.2, 1, 75.9]]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty: it must have a header and a row a line"),
        (b"# nothing\n", "is empty: it must have a header and a row a line"),
        (b"lr,seed,top1\n", "has a header, and no row below it: it must have a header and a row a line"),
        (b"lr,seed,seed,top1\n0.1,1,1,76\n", "has the column seed twice: rename one or take it out"),
        (b"PAR1\xff\xfe\x00", "is no UTF-8 text at byte 4: save it as CSV in UTF-8"),
    ],
    ids=["empty", "comments", "header", "twice", "binary"],
)
def test_files_that_hold_nothing_are_named(tmp_path, content, what):
    path = text_file(tmp_path, content)
    assert errors_of(runs=path) == [f"{path}: {what}"]


def test_rows_with_another_number_of_fields_are_all_named(tmp_path):
    path = write(tmp_path / "runs.csv", "lr,seed,top1", "0.1,1", "0.1,2,76.1", "# x", "0.1,3,76.1,9")
    assert errors_of(runs=path) == [
        f"{path}, row 2: has 2 fields, the header has 3",
        f"{path}, row 5: has 4 fields, the header has 3",
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8,192", "write 8192, without separators of thousands"),
        ("1 281 167", "write 1281167, without separators of thousands"),
    ],
)
def test_separators_of_thousands_are_refused(tmp_path, text, hint):
    path = write(tmp_path / "runs.csv", "mini_batch_size;top1", f"{text};76.1")
    (line,) = errors_of(runs=path)
    assert line.startswith(f"{path}, row 2, column mini_batch_size: is ") and line.endswith(hint)


@pytest.mark.parametrize(("text", "hint"), [("76,1", "write 76.1, with a point"), ("76.1 %", "write 76.1, without %")])
def test_numbers_of_other_conventions_say_how_to_write_them(tmp_path, text, hint):
    path = write(tmp_path / "runs.csv", "lr;top1", f"0.1;{text}")
    (line,) = errors_of(runs=path)
    assert line == f"{path}, row 2, column top1: is '{text}', must be a number: {hint}"


def test_column_without_a_name_is_left_out_with_a_note(tmp_path):
    path = write(tmp_path / "runs.csv", ",lr,top1", "0,0.1,76.1", "1,0.2,76.1")
    assert f"{path}: a column without a name is left out" in read(runs=path).notes


def test_wrong_files_of_all_sources_are_said_at_once(tmp_path):
    cells = write(tmp_path / "cells.csv", "lr,n,mean,sd", "0.1,x,76,1")
    runs = write(tmp_path / "runs.csv", "lr,top1", "0.1,x")
    lines = errors_of(cells=cells, runs=runs, mllog=str(tmp_path / "*.log"))
    assert [line.partition(",")[0].partition(":")[0] for line in lines] == [str(cells), str(runs), "replay.mllog"]
