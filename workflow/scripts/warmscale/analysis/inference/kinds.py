"""Kinds of claims: cells in, Evidence out."""

from .kinds_levels import best, trend, worst
from .kinds_paired import paired_better, paired_equivalent
from .kinds_sides import above, below, better, equivalent

__all__ = ["above", "below", "best", "better", "equivalent", "paired_better", "paired_equivalent", "trend", "worst"]
