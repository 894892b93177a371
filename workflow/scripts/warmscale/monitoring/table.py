"""A study as lines of text: a summary, a row a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .files import read_all
from .runs import STATES, RunStatus, counted, with_metrics
from .studies import StudyStatus
from .text import bar, coloured, count, cut, duration, percent

BAR_WIDTH, NARROW_BAR_WIDTH = 12, 6
NARROW = 110
"""Screens of fewer characters get the narrow bar, without percents."""
SUMMARY_BAR_WIDTH = 20
SHOWN_FIRST = ("running", "lost?", "failed", "paused", "queued", "diverged", "finished", "pending")
"""Where there are more runs than rows: what is worth a row first."""


@dataclass(frozen=True)
class Screen:
    """What lines are written for."""

    width: int | None = None
    """Characters of a line; None: any number."""
    blocks: bool = True
    """Whether it shows Unicode's blocks."""
    colours: bool = False


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    title: str
    cell: Callable[[RunStatus, Screen], str]
    importance: int
    """The least important ones are left out first, where the screen is narrow."""
    to_the_right: bool = True


def _progress(run: RunStatus, screen: Screen) -> str:
    if screen.width is not None and screen.width < NARROW:
        return bar(run.fraction, NARROW_BAR_WIDTH, blocks=screen.blocks)
    return f"{bar(run.fraction, BAR_WIDTH, blocks=screen.blocks)} {percent(run.fraction):>5}"


def _epoch(run: RunStatus, _: Screen) -> str:
    return f"{run.epoch}/{run.epochs or '?'}" if run.epoch or run.epochs else ""


COLUMNS = (
    Column("run", lambda run, _: run.run_id, 9, to_the_right=False),
    Column("state", lambda run, _: run.state, 8, to_the_right=False),
    Column("trained", _progress, 4, to_the_right=False),
    Column("epoch", _epoch, 6),
    Column("top-1", lambda run, _: "" if run.top1 is None else f"{run.top1:.2f}", 7),
    Column("images/s", lambda run, _: f"{run.images_per_sec:,.0f}" if run.images_per_sec else "", 3),
    Column("ETA", lambda run, _: duration(run.eta_sec), 5),
    Column("job", lambda run, _: run.job_id or "", 2),
    Column("attempts", lambda run, _: str(run.attempts or ""), 1),
)


def summary_lines(study: StudyStatus, screen: Screen) -> list[str]:
    """What there is to say of all runs together."""
    counts = study.counts
    states = [
        coloured(f"{counts[state]:,} {state}", state, colours=screen.colours) for state in STATES if counts[state]
    ]
    shown = bar(study.fraction, SUMMARY_BAR_WIDTH, blocks=screen.blocks)
    facts = [
        f"{shown} {percent(study.fraction)} trained",
        f"{study.node_hours:,.{2 if study.node_hours < 100 else 0}f} node-hours",
    ]
    if (eta := study.eta_sec) is not None:
        facts.append(f"{duration(eta)} left at this rate")
    lines = [f"{study.folder}: {counted(study.runs)}: {', '.join(states)}", ", ".join(facts)]
    if not study.under_way and (counts["running"] or counts["queued"]):
        lines.append("No Snakemake works on it any more: jobs go on by themselves, the same command takes them over")
    if not study.is_complete:
        lines.append("Runs that were never started are not known here: name the config with --configfile")
    if study.others:
        lines.append(f"Not counted: {count(study.others, 'run')} of earlier configs, with folders in {study.folder}")
    return lines


def table_lines(study: StudyStatus, screen: Screen, rows: int | None) -> list[str]:
    """A header, a row for each run, or for the first `rows` of SHOWN_FIRST, and how many are not shown."""
    shown = _most_urgent(study.runs, rows)
    runs = read_all(lambda run: with_metrics(study.folder, run), shown)
    if not runs:
        return []
    cells = [[column.cell(run, screen) for run in runs] for column in COLUMNS]
    widths = [max(len(column.title), *map(len, texts)) for column, texts in zip(COLUMNS, cells, strict=True)]
    empty = [not any(texts) for texts in cells]
    kept = _fitting(widths, empty, screen.width)
    titles = [_padded(COLUMNS[place].title, widths[place], COLUMNS[place]) for place in kept]
    lines = [cut("  ".join(titles), screen.width, blocks=screen.blocks).rstrip()]
    lines += [_row(run, number, cells, widths, kept, screen) for number, run in enumerate(runs)]
    left_out = study.counts - StudyStatus(study.folder, shown, True, 0, "").counts
    if left_out:
        states = ", ".join(f"{left_out[state]:,} {state}" for state in STATES if left_out[state])
        lines.append(f"Not shown: {states}; --all shows every run")
    return lines


def _most_urgent(runs: Sequence[RunStatus], rows: int | None) -> list[RunStatus]:
    """So many runs, still in their order."""
    if rows is None or len(runs) <= rows:
        return list(runs)
    urgency = {state: place for place, state in enumerate(SHOWN_FIRST)}
    order = sorted(range(len(runs)), key=lambda number: urgency[runs[number].state])
    return [runs[number] for number in sorted(order[:rows])]


def _fitting(widths: Sequence[int], empty: Sequence[bool], width: int | None) -> list[int]:
    """The columns that have something to show and fit beside each other."""
    kept = [place for place in range(len(COLUMNS)) if not empty[place]]
    while width is not None and len(kept) > 2 and sum(widths[place] + 2 for place in kept) - 2 > width:
        kept.remove(min(kept, key=lambda place: COLUMNS[place].importance))
    return kept


def _row(
    run: RunStatus,
    number: int,
    cells: Sequence[Sequence[str]],
    widths: Sequence[int],
    kept: Sequence[int],
    screen: Screen,
) -> str:
    texts = [_padded(cells[place][number], widths[place], COLUMNS[place]) for place in kept]
    line = cut("  ".join(texts).rstrip(), screen.width, blocks=screen.blocks)
    # coloured after cutting: what orders a colour has no width
    start = widths[kept[0]] + 2
    word = line[start : start + len(run.state)]
    return f"{line[:start]}{coloured(word, run.state, colours=screen.colours)}{line[start + len(run.state) :]}"


def _padded(text: str, width: int, column: Column) -> str:
    return text.rjust(width) if column.to_the_right else text.ljust(width)
