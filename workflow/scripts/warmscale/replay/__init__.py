"""Results that somebody else produced, read into rows as a study's own runs have them. Standard library only, but for
TensorBoard's files, which its own package reads."""

from .errors import ReplayError
from .imported import Imported
from .paths import find_files
from .sources import read_sources, source_files
from .wanted import read_replayed

__all__ = ["Imported", "ReplayError", "find_files", "read_replayed", "read_sources", "source_files"]
