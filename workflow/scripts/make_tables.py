"""Aggregate the published runs of a study into its tables."""

import json
from pathlib import Path

from warmscale.analysis.tables import make_tables
from warmscale.study import load_study

if __name__ == "__main__":
    make_tables(
        study=load_study(json.loads(snakemake.params.study)),
        results=Path(snakemake.output.runs).parents[1],
    )
