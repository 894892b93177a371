"""For all tests: `warmscale` is importable without installation, and hypothesis tries the same examples every time."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")
