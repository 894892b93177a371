"""Carry out one run on this machine: start its ranks, survive them, publish what came out."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.training.signals import stop_on_signals
from warmscale.training.warm.client import hand_over
from warmscale.training.warm.surroundings import surroundings


def main() -> int:
    """Let the warm process do it where there is one, else do it here."""
    inherited = surroundings()
    stop = stop_on_signals()
    code = hand_over(sys.argv, stop, inherited)
    if code is not None:
        return code
    from warmscale.training.run_command import carry_out_as_told

    return carry_out_as_told(stop)


if __name__ == "__main__":
    sys.exit(main())
