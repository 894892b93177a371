"""Which runs of a cell come first: of pairs the seeds that both sides have, those that are there on one side before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.published_runs import publish
from tests.unit.study_builders import make_config
from warmscale.analysis import claims as report
from warmscale.analysis.observations import Observations
from warmscale.cluster.site import Site
from warmscale.planning.cells import SeededCell, tables_in_memory
from warmscale.planning.order import Choice, Order
from warmscale.planning.plan import make_plan
from warmscale.study import load_study

from .studies import BETTER, claim, needs, study_of

PAIRED = claim("paired", "better", levels=[1, 0], paired=True)
CLUSTER = {"scheduler": "slurm", "launcher": "srun", "node": {"gpus": 0, "cores": 4}}
SITE = Site.model_validate(CLUSTER | {"walltime": [{"up_to_nodes": 4, "minutes": 6000}]})
SEEDS = range(1, 9)
seeds = st.sets(st.sampled_from(SEEDS))


def cell(name, own=SEEDS):
    return SeededCell(name, tuple(f"{name}{seed}" for seed in own))


def pairs(a, b, common=SEEDS):
    return Choice(tuple((f"{a}{seed}", f"{b}{seed}") for seed in common))


def first_runs(order, counts):
    return {run_id for name, count in counts.items() for run_id in order.runs[name][:count]}


@given(seeds, seeds, st.integers(0, 8))
def test_pairs_take_no_more_runs_than_they_have_to(a, b, needed):
    cells, there = {"a": cell("a"), "b": cell("b")}, {f"a{seed}" for seed in a} | {f"b{seed}" for seed in b}
    order, choice = Order.of(cells, there, set(), [pairs("a", "b")]), pairs("a", "b")
    counts = order.reach(choice, needed)
    new = first_runs(order, counts) - there
    assert order.seeds(choice, counts) >= needed
    assert len(new) == sum(sorted((seed not in a) + (seed not in b) for seed in SEEDS)[:needed])


@given(seeds, seeds, seeds, seeds, st.integers(1, 8), st.integers(1, 8))
def test_claims_that_share_a_cell_all_have_their_pairs(a, b, c, required, first, second):
    cells = {name: cell(name) for name in "abc"}
    there = {f"{name}{seed}" for name, own in (("a", a), ("b", b), ("c", c)) for seed in own}
    choices = [pairs("a", "b"), pairs("a", "c")]
    order = Order.of(cells, there, {f"b{seed}" for seed in required}, choices)
    for choice, needed in zip(choices, (first, second), strict=True):
        counts = order.reach(choice, needed)
        taken = there | first_runs(order, counts)
        assert sum(set(unit) <= taken for unit in choice.units) >= order.seeds(choice, counts) >= needed


def test_seeds_that_one_side_lacks_come_last():
    order = Order.of({"a": cell("a"), "b": cell("b", [7, 8, 9])}, set(), set(), [pairs("a", "b", [7, 8])])
    assert order.runs["a"][:2] == ("a7", "a8")
    assert order.runs["b"][-1] == "b9"


def test_seeds_that_are_done_on_one_side_are_planned_on_the_other(tmp_path):
    study = study_of(PAIRED, budget={"node_hours": 1e6})
    for point in study.points:
        if point.experiment == "warmups" and dict(point.factors)["warmup_epochs"] == 1 and point.seed > 4:
            publish(tmp_path, study.runs[point.run_id], "finished", [50.0 + point.seed % 3])
    (need,) = needs(study, tmp_path)
    plan = make_plan(study, SITE, tmp_path)
    there = {}
    for run in plan.runs:
        if run.decision in ("finished", "planned"):
            there.setdefault(run.cell, set()).add(study.runs[run.run_id].seed)
    assert set.intersection(*(there[name] for name in need.seeds)) >= {5, 6, 7, 8}
    assert len(set.intersection(*(there[name] for name in need.seeds))) == need.needed == plan.claims[0].seeds
    assert len(plan.having("planned")) == 2 * need.needed - 4


def of_seeds(first, second):
    extra = [{"point": {"warmup_epochs": 0}, "seeds": first}, {"point": {"warmup_epochs": 1}, "seeds": second}]
    paired = PAIRED | {"experiment": "own"}
    planning = {"sd": 1.0, "smallest_effect": 3.0}
    return load_study(make_config(experiments=[{"name": "own", "extra": extra}], claims=[paired], planning=planning))


def test_without_a_common_seed_pairs_are_not_testable_as_the_report_says(tmp_path):
    study = of_seeds([1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16])
    (need,) = needs(study, tmp_path)
    for run in study.runs.values():
        publish(tmp_path, run, "finished", [50.0])
    (told,) = report.test_claims(study, Observations.of(study, tables_in_memory(study, tmp_path)), {})
    assert (need.standing, (need.note,)) == ("untestable", told.notes)


def test_only_seeds_of_both_sides_count(tmp_path):
    (need,) = needs(of_seeds([1, 2, 3, 4, 5, 6, 7, 8], [7, 8, 9, 10, 11, 12, 13, 14]), tmp_path)
    assert (need.standing, need.configured) == ("too_few", 2)
    assert need.note == f"it needs {need.needed} seeds in both cells, and the config has 2"


def test_a_filter_on_seeds_has_these_seeds_planned(tmp_path):
    sides = {"a": {"warmup_epochs": 1, "seed": [6, 7, 8]}, "b": {"warmup_epochs": 0, "seed": [6, 7, 8]}}
    chosen = {"id": "sides", "statement": "", "kind": "better", **sides}
    planning = {"sd": 1.0, "smallest_effect": 30.0}
    study = study_of(chosen, planning=planning, budget={"node_hours": 1e6})
    plan = make_plan(study, SITE, tmp_path)
    (one,) = plan.claims
    assert (one.is_bought, one.seeds) == (True, one.need.needed)
    assert {study.runs[run.run_id].seed for run in plan.having("planned")} <= {6, 7, 8}
    assert len(plan.having("planned")) == 2 * one.need.needed


def test_runs_of_no_pair_are_in_the_order_of_the_config(tmp_path):
    (need,) = needs(study_of(BETTER), tmp_path)
    assert need.order.picked == frozenset()
    assert all([int(run.rsplit("-s")[1].split("-")[0]) for run in own] == [*SEEDS] for own in need.order.runs.values())
