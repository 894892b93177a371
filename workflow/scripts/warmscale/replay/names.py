"""What a column is, by its name."""

from __future__ import annotations

import re

from ..study.recipe import Recipe, leaves

ACCURACY = re.compile(
    r"(^|[_./-])(top[-_]?[15]|acc|accuracy|err|error)([-_.@]?(rate|last|final|best|mean|median\w*|pct|percent|top|[15]))*$",
    re.IGNORECASE,
)
"""Accuracies and errors: percent after reading."""
METRICS = re.compile(r"(val|train|test|eval)_(loss|top[15]|acc|accuracy|error)|loss|perplexity|time_min", re.IGNORECASE)
"""Further names of metrics."""
OF_RUN = ("run_id", "seed", "state", "device_name", "hours", "status", "org")
"""Columns of `runs` beside factors and metrics."""
OF_EPOCH = ("step", "learning_rate", "time")
"""Columns that `epochs` keeps beside its metrics."""
OF_CELL = ("metric", "n", "mean", "sd", "diverged")
RESERVED = {
    *(*OF_RUN, *OF_CELL),
    *("epoch", "epochs_done", "step", "source", "commit", "user", "job_id", "job", "path", "file", "log", "url"),
    *("submitter", "duration", "attempts", "failure_class", "diverged_step", "experiment", "experiments"),
    *("time", "elapsed", "runtime", "throughput", "wall_time", "walltime", "index", "comment", "comments"),
}
RESERVED_BEGINNINGS = ("host", "date", "time", "note", "start_time", "end_time", "unnamed")
RESERVED_ENDINGS = ("_sec", "_secs", "_ms", "_hours", "_per_sec", "_mib", "_gib", "_mb_used", "_time", "_url")
SETTINGS = set(leaves(Recipe))
SETTING = re.compile(
    r"(^|[_.])(lr|learning_rate|eta|warmup|momentum|decay|wd|dropout|smoothing|beta\d*|eps|epsilon|batch|batch_size|mb"
    r"|clip|clipping|scale|scaling|factor|exponent|power|fraction|ratio|temperature|alpha|gamma)($|[_.\d])",
    re.IGNORECASE,
)
"""Names of what is set, not measured: fractions of theirs tell cells apart."""


def is_accuracy(name: str) -> bool:
    """Whether a column is an accuracy or an error, so that it has a unit and lies within 0 and 100 percent."""
    return bool(ACCURACY.search(name))


def is_metric(name: str) -> bool:
    """Whether a column is a metric by its name."""
    return is_accuracy(name) or bool(METRICS.fullmatch(name))


def is_reserved(name: str) -> bool:
    """Whether a column never tells cells apart, unless it is referred to."""
    lowered = name.lower()
    return lowered in RESERVED or lowered.startswith(RESERVED_BEGINNINGS) or lowered.endswith(RESERVED_ENDINGS)


def is_setting(name: str) -> bool:
    """Whether a column is a setting by its name, whatever numbers stand in it."""
    return name in SETTINGS or bool(SETTING.search(name))
