"""Check the nodes of a job: what `warmscale doctor` submits, started on the first host."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.diagnosis.on_nodes import check_nodes

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, type=Path, help="of the check, with check.json")
    sys.exit(check_nodes(parser.parse_args().folder))
