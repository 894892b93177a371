"""Draw all figures of a study from its tables, in one process: the imports cost more than a figure."""

import json
from pathlib import Path

from warmscale.analysis.figures import draw_all
from warmscale.analysis.tables import read_tables
from warmscale.study import load_study

if __name__ == "__main__":
    draw_all(
        study=load_study(json.loads(snakemake.params.study)),
        tables=read_tables(Path(snakemake.input.tables[0]).parent),
        folder=Path(snakemake.output.svg[0]).parent,
    )
