"""Write the report of a study from its tables, figures and runs: a page, and a bundle of all that belongs to it."""

import json
from pathlib import Path

from warmscale.analysis.bundle import write_bundle
from warmscale.analysis.catalogue import FORMATS, figures_of, tables_of, verdicts_of
from warmscale.analysis.looks import LOOKS
from warmscale.analysis.published import read_records
from warmscale.analysis.report import config_yaml, page
from warmscale.analysis.tables import read_tables
from warmscale.analysis.unpublished import is_measured
from warmscale.records import write_atomic
from warmscale.study import Study, load_study
from warmscale.study.planned import with_plan


def write_report(study: Study, results: Path, template: Path) -> None:
    """Write results/<study>/report/index.html and report.zip."""
    folder = results / "throughput"
    records = None if study.is_replayed else read_records(study.runs, results)
    html = page(study, read_tables(results / "tables"), records, results, template)
    write_atomic(results / "report" / "index.html", html)
    names = [f"figures/{entry.name}.{suffix}" for entry in figures_of(study) for suffix in (*FORMATS, "csv")]
    names += [f"tables/{table}.{suffix}" for table in tables_of(study) for suffix in ("csv", "parquet")]
    names += [LOOKS, *(f"tables/{table}.csv" for table in verdicts_of(study))]
    names += [f"runs/{run_id}/run.json" for run_id in (records.outcomes if records else ())]
    names += [f"throughput/{one}/measurement.json" for one in study.measurements if is_measured(folder / one)]
    members = {name: results / name for name in names}
    write_bundle(results / "report.zip", {"index.html": html, "config.yaml": config_yaml(study), **members})


if __name__ == "__main__":
    write_report(
        study=with_plan(load_study(json.loads(snakemake.params.study)), Path(snakemake.output.bundle).parent),
        results=Path(snakemake.output.bundle).parent,
        template=Path(snakemake.input.template),
    )
