"""Nodes and ranks of a run: against all ways there are, and what a refusal says."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit.study_builders import changed_config, lines_of
from warmscale.cluster.placement import PlacementError, Where, place
from warmscale.study import load_study

counts = st.integers(1, 60)
a_node = st.integers(1, 8)


def all_ways(workers, max_nodes, most):
    """Every (nodes, ranks a node) that shares the workers equally."""
    pairs = [(nodes, ranks) for nodes in range(1, max_nodes + 1) for ranks in range(1, most + 1)]
    return [(nodes, ranks) for nodes, ranks in pairs if workers % (nodes * ranks) == 0]


@given(st.integers(1, 600), counts, a_node)
def test_a_run_has_the_most_ranks_that_share_its_workers_on_the_fewest_nodes(workers, max_nodes, most):
    best = max(all_ways(workers, max_nodes, most), key=lambda way: (way[0] * way[1], -way[0]))
    assert place(workers, ranks_per_node=most, max_nodes=max_nodes) == Where(*best)


@given(st.integers(1, 600), st.lists(counts, min_size=1, max_size=4), a_node)
@example(240, [7], 6)
def test_of_allowed_counts_the_largest_is_taken_whose_full_nodes_divide(workers, nodes, most):
    full = [count for count in nodes if workers % (count * most) == 0]
    one = [1] if 1 in nodes else []
    if full or one:
        where = place(workers, ranks_per_node=most, nodes=nodes)
        assert where.nodes == max(full + one)
        assert where.ranks_per_node == most or where.nodes == 1
        assert workers % where.ranks == 0
    else:
        with pytest.raises(PlacementError):
            place(workers, ranks_per_node=most, nodes=nodes)


@given(st.integers(1, 600), a_node)
def test_one_node_takes_every_run(workers, most):
    assert place(workers, ranks_per_node=most, nodes=1) == place(workers, ranks_per_node=most)


@given(st.integers(1, 600), st.integers(2, 60), a_node)
def test_counts_that_a_refusal_names_are_the_next_ones_that_fit(workers, nodes, most):
    assume(workers % (nodes * most))
    with pytest.raises(PlacementError) as refused:
        place(workers, ranks_per_node=most, nodes=nodes)
    said = str(refused.value).partition(": ")[2].partition("do: " if " counts " in str(refused.value) else "does: ")[2]
    named = [int(count) for count in said.partition(",")[0].split(" and ")]
    fitting = [count for count in range(1, workers + 1) if count == 1 or workers % (count * most) == 0]
    assert (
        named == [count for count in fitting if count < nodes][-1:] + [count for count in fitting if count > nodes][:1]
    )


@pytest.mark.parametrize(
    "workers, ranks_per_node, max_nodes, nodes, ranks",
    [
        (240, 6, 40, 40, 6),  # the poster's
        (60, 6, 40, 10, 6),
        (240, 6, 1, 1, 6),
        (240, 1, 1, 1, 1),
        (240, 6, 7, 5, 6),  # 7 nodes would have 6 ranks in all that divide
        (512, 6, 64, 64, 4),  # 6 do not divide a power of two
        (512, 6, 1, 1, 4),
        (7, 6, 1, 1, 1),
        (7, 6, 40, 7, 1),
        (1, 6, 40, 1, 1),
        (10**12, 10**12, 10**12, 1, 10**12),
    ],
)
def test_known_placements(workers, ranks_per_node, max_nodes, nodes, ranks):
    assert place(workers, ranks_per_node=ranks_per_node, max_nodes=max_nodes) == Where(nodes, ranks)


@pytest.mark.parametrize(
    "workers, nodes, ways_out",
    [
        (240, 7, "7 nodes of 6 ranks do not divide 240 workers equally; the next counts that do: 5 and 8"),
        (60, 40, "40 nodes of 6 ranks do not divide 60 workers equally; the next count that does: 10"),
        (
            512,
            8,
            "8 nodes of 6 ranks do not divide 512 workers equally; the next count that does: 1, "
            "or placement.ranks_per_node: 4",
        ),
        (240, [9, 7], "7 or 9 nodes of 6 ranks do not divide 240 workers equally; the next counts that do: 8 and 10"),
    ],
)
def test_a_refusal_is_one_line_with_the_counts_that_would_do(workers, nodes, ways_out):
    with pytest.raises(PlacementError) as refused:
        place(workers, ranks_per_node=6, nodes=nodes)
    assert str(refused.value) == f"placement.nodes: {ways_out}"


def config(**placement):
    """Two experiments, of 240 and of 60 workers."""
    large = {"name": "large", "extra": [{"point": {"workers": 240, "mini_batch_size": 240}}]}
    small = {"name": "small", "extra": [{"point": {"workers": 60, "mini_batch_size": 60}}]}
    return changed_config(("experiments", [large, small]), ("placement", placement))


def test_each_run_of_a_study_has_its_largest_allowed_number_of_nodes():
    study = load_study(config(nodes=[10, 40], ranks_per_node=6))
    assert {run.recipe.workers: study.where(run) for run in study.runs.values()} == {
        240: Where(40, 6),
        60: Where(10, 6),
    }
    assert [study.where(run, nodes=5) for run in study.runs.values()] == [Where(5, 6)] * 2


def test_a_study_is_refused_with_a_line_for_each_number_of_workers_that_its_nodes_do_not_divide():
    assert lines_of(config(nodes=[7, 40], ranks_per_node=6)) == [
        "placement.nodes: 7 or 40 nodes of 6 ranks do not divide 60 workers equally; the next count that does: 10"
    ]


def test_nodes_are_not_refused_before_it_is_known_how_many_ranks_they_have():
    assert load_study(config(nodes=40)).config.placement.nodes == 40
