"""Test the claims of a study on its tables."""

import json
import sys
from pathlib import Path

from warmscale.analysis.looks import LooksError
from warmscale.analysis.tables import read_tables
from warmscale.analysis.verdicts import make_verdicts
from warmscale.study import load_study
from warmscale.study.planned import with_plan

if __name__ == "__main__":
    try:
        make_verdicts(
            study=with_plan(load_study(json.loads(snakemake.params.study)), Path(snakemake.output.claims).parents[1]),
            tables=read_tables(Path(snakemake.output.claims).parent),
            results=Path(snakemake.output.claims).parents[1],
        )
    except LooksError as error:
        Path(snakemake.log[0]).write_text(f"{error}\n")  # Snakemake shows the log of a failed job near its last lines
        sys.exit(str(error))
