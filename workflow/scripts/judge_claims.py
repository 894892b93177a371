"""Test the claims of a study on its tables."""

import json
from pathlib import Path

from warmscale.analysis.tables import read_tables
from warmscale.analysis.verdicts import make_verdicts
from warmscale.study import load_study

if __name__ == "__main__":
    make_verdicts(
        study=load_study(json.loads(snakemake.params.study)),
        tables=read_tables(Path(snakemake.output.claims).parent),
        results=Path(snakemake.output.claims).parents[1],
    )
