"""For all tests: `warmscale` is importable without installation, one thread a process, the same examples every time."""

import os
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

# more threads a process are many times slower as soon as processes share cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")
