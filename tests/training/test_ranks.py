"""Twenty workers on one, two and four ranks are the same training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from warmscale.records import read_rows

from .conftest import experiment, make_lab, run_ranks, small_run

WORLD_SIZES = (1, 2, 4)
PRECISIONS = ("fp32", "fp64")


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """{(precision, world size): notes of each rank}."""
    noted = {}
    for world_size in WORLD_SIZES:
        folder = make_lab(tmp_path_factory.mktemp(f"ranks{world_size}"))
        experiments = [
            experiment(precision, small_run(precision=precision), audit_every_steps=1) for precision in PRECISIONS
        ]
        for precision, ranks in run_ranks(folder, world_size, experiments).items():
            ranks[0]["losses"] = [float(row["loss"]) for row in read_rows(folder / precision / "state/steps.csv")]
            noted[precision, world_size] = ranks
    return noted


def per_step(ranks: list[dict[str, Any]], what: str, steps: int = 8) -> list[list]:
    """Of every step, what all ranks noted, in the order of the mini-batch."""
    each = [len(rank[what]) // steps for rank in ranks]
    return [
        [
            value
            for rank, n in zip(ranks, each, strict=True)
            for part in rank[what][step * n : (step + 1) * n]
            for value in part
        ]
        for step in range(steps)
    ]


@pytest.mark.parametrize("world_size", WORLD_SIZES[1:])
def test_sample_ids_of_all_steps_do_not_depend_on_the_number_of_ranks(notes, world_size):
    alone = per_step(notes["fp32", 1], "keys")
    assert [len(set(step)) for step in alone] == [80] * 8
    assert per_step(notes["fp32", world_size], "keys") == alone


@pytest.mark.parametrize("world_size", WORLD_SIZES[1:])
def test_cropped_pixels_of_all_steps_do_not_depend_on_the_number_of_ranks(notes, world_size):
    alone = per_step(notes["fp32", 1], "pixels")
    assert len({pixels for step in alone for pixels in step}) > 300
    assert per_step(notes["fp32", world_size], "pixels") == alone


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp64", 1e-12)])
@pytest.mark.parametrize("what", ["parameters", "momenta", "statistics"])
@pytest.mark.parametrize("world_size", WORLD_SIZES[1:])
def test_one_step_does_not_depend_on_the_number_of_ranks(notes, precision, tolerance, what, world_size):
    alone = notes[precision, 1][0]["after_first_step"][what]
    for rank in notes[precision, world_size]:
        together = rank["after_first_step"][what]
        assert together.dtype == {"fp32": torch.float32, "fp64": torch.float64}[precision]
        assert (together - alone).norm() <= tolerance * alone.norm()


@pytest.mark.parametrize("world_size", WORLD_SIZES[1:])
def test_losses_of_two_epochs_in_fp64_do_not_depend_on_the_number_of_ranks(notes, world_size):
    alone = notes["fp64", 1][0]["losses"]
    assert len(alone) == 8
    assert notes["fp64", world_size][0]["losses"] == pytest.approx(alone, rel=1e-8)
