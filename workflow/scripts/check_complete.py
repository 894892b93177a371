"""Name the runs of a study that failed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def failed_runs(records: list[Path]) -> list[str]:
    """A line for each failed run: id, class, reason."""
    from warmscale.records import read_json

    runs = [read_json(record) for record in records]
    return [f"{run['run_id']}: {run['failure_class']}: {run['failure']}" for run in runs if run["state"] == "failed"]


if __name__ == "__main__":
    if lines := failed_runs([Path(record) for record in snakemake.input.runs]):
        runs = "1 run" if len(lines) == 1 else f"{len(lines)} runs"
        text = "\n".join([*lines, f"{runs} failed; the same command tries again"])
        Path(snakemake.log[0]).write_text(text + "\n")  # Snakemake shows the log of a failed job near its last lines
        sys.exit(text)
