"""Runs from event files of TensorBoard: a folder is a run."""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..study.errors import closest
from .errors import at, listed
from .paths import Found
from .records import Gathered, RawRun, Wanted, name_of, state_of
from .units import Reading, out_of_bounds, percent_factor, wrong_unit
from .values import whole

MARK = "tfevents"
"""Part of the name of every event file."""


@dataclass
class Events:
    """What the event files of one folder hold."""

    scalars: dict[str, dict[int, tuple[float, float]]] = field(default_factory=dict)
    """{tag: {step: (wall time, value)}}."""
    hparams: dict[str, Any] = field(default_factory=dict)


def read_events(files: Sequence[Found], tags: Mapping[str, str], gathered: Gathered) -> None:
    """Add the runs of these event files, or what is wrong with them.

    Steps of the study's metric become epochs 1, 2, ...; another scalar has its last value since the epoch before.
    """
    wanted = gathered.wanted
    if not set(wanted.metrics) & set(tags):
        has = ", ".join(tags)
        gathered.problems.append(f"replay.tensorboard.tags: has no {' or '.join(wanted.metrics)}; it has: {has}")
        return
    folders = _folders(files, gathered)
    found = {folder: read_folder(paths) for folder, (paths, _) in folders.items()}
    runs = []
    for folder, events in found.items():
        if not any(tag in events.scalars for tag in tags.values()) and events.hparams:
            continue  # torch's writer puts hparams into a folder below that of the run
        missing = [tag for metric, tag in tags.items() if tag not in events.scalars]
        gathered.problems += [f"{at(name_of(folder))}: {_no_tag(tag, events)}" for tag in missing]
        if not missing:
            hparams = events.hparams or _hparams_nearby(folder)
            runs.append(_run(folder, folders[folder][1], events.scalars, hparams, tags, wanted))
    for metric in tags:
        values = [row[metric] for run in runs for row in run.epochs if metric in row]
        gathered.problems += wrong_unit("replay.tensorboard", metric, values, wanted)
    for run in runs:
        _to_percent(run, tags, wanted)
        for metric in tags:
            places = [Reading(row[metric], f"{run.source}, step {row['step']}, {metric}") for row in run.epochs]
            gathered.problems += [] if gathered.problems else out_of_bounds(metric, places)
    gathered.runs += runs


def _folders(files: Sequence[Found], gathered: Gathered) -> dict[Path, tuple[list[Path], dict[str, str]]]:
    """{folder: (event files, columns from its path)}."""
    folders: dict[Path, tuple[list[Path], dict[str, str]]] = {}
    for file in files:
        folder = file.path if file.path.is_dir() else file.path.parent
        paths = sorted(file.path.glob(f"*{MARK}*")) if file.path.is_dir() else [file.path]
        if not paths:
            gathered.problems.append(f"{at(name_of(folder))}: has no event files, *{MARK}*, in it")
            continue
        known, levels = folders.setdefault(folder, ([], {}))
        known += [path for path in paths if path not in known]
        levels |= file.levels
    return folders


def read_folder(paths: Iterable[Path]) -> Events:
    """Scalars and hparams of the event files of a run; of two values at one step the one written later counts.

    A writer that was started again and says from which step on replaces what was there from that step on.
    """
    events = Events()
    by_time = sorted(((list(_load(path)), path) for path in paths), key=lambda item: _first_time(item[0]))
    for loaded, _ in by_time:
        for event in loaded:
            if event.HasField("session_log") and event.session_log.status == event.session_log.START:
                _purge(events, event.step)
            for value in event.summary.value:
                _take(events, event, value)
    return events


def _load(path: Path) -> Iterator[Any]:
    """Events of a file, all scalars as tensors: old and new writers alike. What is no event file has none."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # slow to import

    yield from EventFileLoader(str(path)).Load()


def _first_time(loaded: Sequence[Any]) -> float:
    return loaded[0].wall_time if loaded else math.inf


def _purge(events: Events, step: int) -> None:
    for tag, values in events.scalars.items():
        events.scalars[tag] = {at_step: value for at_step, value in values.items() if step == 0 or at_step < step}


def _take(events: Events, event: Any, value: Any) -> None:
    """Take one value of a summary in: a scalar, or the hparams of the session."""
    from tensorboard.util import tensor_util

    plugin = value.metadata.plugin_data
    if plugin.plugin_name == "hparams":
        events.hparams |= _hparams(plugin.content)
    elif plugin.plugin_name == "scalars" and value.HasField("tensor"):
        number = tensor_util.make_ndarray(value.tensor)
        steps = events.scalars.setdefault(value.tag, {})
        if number.size == 1 and event.wall_time >= steps.get(event.step, (-math.inf, 0))[0]:
            steps[event.step] = (event.wall_time, float(number.reshape(())))


def _hparams(content: bytes) -> dict[str, Any]:
    """Scalar hparams of a session; numbers that are whole become whole."""
    from google.protobuf.message import DecodeError
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        session = HParamsPluginData.FromString(content).session_start_info
    except DecodeError:
        return {}
    kinds = ("number_value", "string_value", "bool_value")
    given = {name: value.WhichOneof("kind") for name, value in session.hparams.items()}
    return {name: getattr(session.hparams[name], kind) for name, kind in given.items() if kind in kinds}


def _hparams_nearby(folder: Path) -> dict[str, Any]:
    """Hparams of the folders below, else of the one above: torch and Keras put them there."""
    for paths in (sorted(folder.glob(f"*/*{MARK}*")), sorted(folder.parent.glob(f"*{MARK}*"))):
        if hparams := read_folder(paths).hparams:
            return hparams
    return {}


def _no_tag(tag: str, events: Events) -> str:
    has = sorted(events.scalars)
    near = closest(tag, has)
    return f"has no scalar {tag}; " + (f"did you mean {near}?" if near else f"it has: {listed(has) or 'none'}")


def _run(
    folder: Path, levels: Mapping, scalars: Mapping, hparams: Mapping, tags: Mapping[str, str], wanted: Wanted
) -> RawRun:
    decides = next(metric for metric in wanted.metrics if metric in tags)
    steps = sorted(scalars[tags[decides]])
    columns = {name: _since(scalars[tag], steps) for name, tag in tags.items()}
    curve = [
        {"epoch": index + 1, "step": step} | {name: values[index] for name, values in columns.items()}
        for index, step in enumerate(steps)
    ]
    settings = hparams | levels
    seed = whole(f"{settings['seed']:g}" if isinstance(settings.get("seed"), float) else str(settings.get("seed", "")))
    return RawRun(
        source=name_of(folder),
        settings={name: value for name, value in settings.items() if name in wanted.settings([*settings])},
        state=state_of(curve[-1][decides]),
        epochs=curve,
        seed=seed if seed is not None and seed >= 0 else None,
        run_id=str(settings["run_id"]) if "run_id" in settings else None,
        extra={name: str(settings[name]) for name in ("device_name",) if name in settings},
        where=at(name_of(folder)),
        kind="tensorboard",
    )


def _since(values: Mapping[int, tuple[float, float]], steps: Sequence[int]) -> list[float]:
    """The last value at each step or since the one before; NaN where there is none."""
    known = sorted(values)
    found = []
    for index, step in enumerate(steps):
        place = bisect_right(known, step) - 1
        since = steps[index - 1] if index else -math.inf
        found.append(values[known[place]][1] if place >= 0 and known[place] > since else math.nan)
    return found


def _to_percent(run: RawRun, tags: Mapping[str, str], wanted: Wanted) -> None:
    for row in run.epochs:
        for metric in tags:
            row[metric] = percent_factor(metric, wanted) * row[metric]
