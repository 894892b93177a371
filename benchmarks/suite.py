"""Wall time of the whole test suite. Writes suite.csv."""

from __future__ import annotations

import re
import subprocess
import sys
import time

from common import REPOSITORY, environment, write_results


def main() -> None:
    """Run `make test` and write suite.csv."""
    started = time.monotonic()
    done = subprocess.run(
        ["make", "test"], cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stdout[-5000:] + done.stderr)
    counts = dict(re.findall(r"(\d+) (passed|skipped)", done.stdout.splitlines()[-1]))
    tests = {name: int(count) for count, name in counts.items()}
    write_results(
        "suite", [{"passed": tests.get("passed", 0), "skipped": tests.get("skipped", 0), "wall_sec": round(seconds)}]
    )


if __name__ == "__main__":
    main()
