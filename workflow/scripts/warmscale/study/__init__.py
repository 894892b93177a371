"""What is studied: config, grid, runs and their ids. Standard library and pydantic only: every batch job imports it."""

from .errors import StudyError
from .loading import load_study, load_trained
from .run import Run, canonical_json
from .schedule import Schedule
from .study import Point, Study

__all__ = ["Point", "Run", "Schedule", "Study", "StudyError", "canonical_json", "load_study", "load_trained"]
