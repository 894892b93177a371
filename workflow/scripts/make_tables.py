"""Aggregate the published runs of a study, or the results that it replays, into its tables."""

import json
import sys
from pathlib import Path

from warmscale.analysis.tables import make_tables
from warmscale.replay import ReplayError
from warmscale.study import load_study

if __name__ == "__main__":
    for stale in Path(snakemake.output.code).parent.glob("made-by-*"):
        stale.unlink()
    try:
        make_tables(
            study=load_study(json.loads(snakemake.params.study)),
            results=Path(snakemake.output.runs).parents[1],
        )
    except ReplayError as error:
        text = "\n".join(error.lines)
        Path(snakemake.log[0]).write_text(text + "\n")  # Snakemake shows the log of a failed job near its last lines
        sys.exit(text)
