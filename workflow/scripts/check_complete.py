"""Name the runs and measurements of a study that failed."""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def failed_records(runs: Path) -> list[Path]:
    """run.json of the failed ones among the runs of tables/runs.csv; of those replayed or imported there is none.

    Of those that a plan does not carry out none is asked for.
    """
    from warmscale.study.planned import read_plan

    plan = read_plan(runs.parents[1])
    with runs.open(newline="", encoding="utf-8") as file:
        failed = [row["run_id"] for row in csv.DictReader(file) if row["state"] == "failed"]
    failed = plan.kept(failed, runs.parents[1]) if plan else failed
    records = [runs.parents[1] / "runs" / run_id / "run.json" for run_id in failed]
    return [record for record in records if record.exists()]


def failed_measurements(measurements: Path) -> list[Path]:
    """measurement.json of the failed ones among those of tables/throughput.csv."""
    with measurements.open(newline="", encoding="utf-8") as file:
        failed = [row["measurement_id"] for row in csv.DictReader(file) if row["state"] == "failed"]
    return [measurements.parents[1] / "throughput" / one / "measurement.json" for one in failed]


def failed_runs(records: list[Path]) -> list[str]:
    """What there is to say of the failed ones among published records: class, reason, log, and what to type."""
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
    failed = failed_records(Path(snakemake.input.runs))
    failed += [record for table in snakemake.input.measurements for record in failed_measurements(Path(table))]
    if lines := failed_runs(failed):
        text = "\n".join(lines)
        Path(snakemake.log[0]).write_text(text + "\n")  # Snakemake shows the log of a failed job near its last lines
        sys.exit(text)
