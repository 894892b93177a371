"""Name the runs of a study that failed."""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def failed_records(runs: Path) -> list[Path]:
    """run.json of the failed ones among the runs of tables/runs.csv; of those replayed or imported there is none."""
    with runs.open(newline="", encoding="utf-8") as file:
        failed = [row["run_id"] for row in csv.DictReader(file) if row["state"] == "failed"]
    records = [runs.parents[1] / "runs" / run_id / "run.json" for run_id in failed]
    return [record for record in records if record.exists()]


def failed_runs(records: list[Path]) -> list[str]:
    """What there is to say of the failed ones among published runs: class, reason, log, and what to type."""
    from warmscale.monitoring.failures import failure_lines
    from warmscale.monitoring.runs import published_run
    from warmscale.monitoring.studies import command_for_study

    if not records:
        return []
    study = records[0].parents[2]
    runs = [published_run(str(study), record.parent.name) for record in records]
    failed = [run for run in runs if run.state == "failed"]
    return failure_lines(str(study), failed, command_for_study(str(study), failed)) if failed else []


if __name__ == "__main__":
    if lines := failed_runs(failed_records(Path(snakemake.input.runs))):
        text = "\n".join(lines)
        Path(snakemake.log[0]).write_text(text + "\n")  # Snakemake shows the log of a failed job near its last lines
        sys.exit(text)
