"""Put the tables of benchmarks/results into the documents that show them, or check that they are there as they are.

A document says where with a pair of comments: `<!-- table: NAME COLUMN, COLUMN -->` and `<!-- end of table -->`.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/data.md", "docs/training.md", "docs/verdicts.md", "docs/optimum.md", "docs/plan.md")
PLACE = re.compile(r"(<!-- table: (\w+) ([^>]+?) -->\n).*?(<!-- end of table -->)", flags=re.DOTALL)


def filled(text: str) -> str:
    """The document with every table as its file has it."""
    return PLACE.sub(lambda place: f"{place[1]}{table(place[2], place[3].split(', '))}{place[4]}", text)


def table(name: str, columns: list[str]) -> str:
    """A Markdown table of some columns of a result, with machine, commit and date below."""
    path = REPOSITORY / f"benchmarks/results/{name}.csv"
    if not path.exists():
        return "Not measured yet.\n"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    lines = [columns, ["---"] * len(columns), *([row[column] for column in columns] for row in rows)]
    body = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    first = rows[0]
    return f"{body}\n{first['machine']}; commit {first['commit']}; {first['date']}\n"


def main() -> None:
    """Write the documents, or with `--check` fail where one is not fresh."""
    for path in (REPOSITORY / name for name in DOCUMENTS):
        text = path.read_text()
        fresh = filled(text)
        if "--check" in sys.argv and fresh != text:
            sys.exit(f"{path.relative_to(REPOSITORY)} is not as benchmarks/results: run python benchmarks/readme.py")
        path.write_text(fresh)


if __name__ == "__main__":
    main()
