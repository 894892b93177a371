"""The page of a plan, and its timetable: everything is on it, and nothing of a user's text is taken for HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from warmscale.planning.chart import timetable
from warmscale.planning.files import simulate
from warmscale.planning.page import page
from warmscale.planning.plan import make_plan

from .studies import BEST, BETTER, RULE, finish, study_of
from .test_plan import SITE

TEMPLATE = Path(__file__).parents[2] / "workflow/report/plan.html.j2"


class Text(HTMLParser):
    """The words of a page, and which tags are left open."""

    def __init__(self, html):
        super().__init__()
        self.words, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def shown(study, results):
    plan = make_plan(study, SITE, results)
    html = Text(page(plan, simulate(plan), TEMPLATE))
    assert html.open == []
    return plan, html.text


def test_the_page_shows_what_fits_what_not_and_what_is_assumed(tmp_path):
    study = study_of(BETTER, BEST, budget={"node_hours": 15}, planning={"sd": 1.25, "smallest_effect": 2.5})
    plan, text = shown(study, tmp_path)
    assert "Timetable, predicted" in text
    assert "standard deviation over seeds, assumed 1.25" in text
    assert "2.5 beyond the bound of a claim" in text
    assert "does not fit" in text and "planned" in text
    assert "CBC" in text or "HiGHS" in text
    assert "Nothing is measured yet" in text
    assert all(run.run_id in text for run in plan.runs)
    rows = {row["id"]: row for row in _claims(plan)}
    assert rows["best"]["more"] != "–" or rows["better"]["more"] != "–"


def test_effects_that_differ_are_shown_from_the_smallest_to_the_largest(tmp_path):
    effects = [{"where": {"lr_scaling.rule": "none"}, "smallest_effect": 2.5}]
    planning = {"sd": 1.0, "smallest_effect": effects}
    assert (
        "2.5 to 5 beyond the bound"
        in shown(study_of(RULE, BETTER, planning=planning, smallest_effect=5.0), tmp_path)[1]
    )
    plain = {"sd": 1.0, "smallest_effect": 2.5}
    assert "2.5 beyond the bound" in shown(study_of(RULE, BETTER, planning=plain), tmp_path)[1]


def _claims(plan):
    from warmscale.planning.files import claim_rows
    from warmscale.planning.page import _claim

    return [_claim(plan, row, number) for number, row in enumerate(claim_rows(plan, simulate(plan)))]


def test_without_a_budget_the_page_says_that_all_runs_are_planned(tmp_path):
    _, text = shown(study_of(RULE), tmp_path)
    assert "No budget is given, so that all runs are planned." in text
    assert "no limit" in text


def test_finished_runs_are_counted_and_their_spread_is_said_to_be_seen(tmp_path):
    study = study_of(RULE)
    finish(study, tmp_path, "rules", seeds=5)
    plan, text = shown(study, tmp_path)
    assert "10 runs done already, not shown" in text
    assert "seen in the runs that are there" in text
    runs = text.partition("Predicted and taken Of 10 finished runs")[0]
    assert all(run.run_id not in runs for run in plan.having("finished"))


def test_a_study_with_nothing_left_to_do_has_a_page(tmp_path):
    study = study_of(RULE, seeds=1)
    finish(study, tmp_path, "rules", seeds=1)
    finish(study, tmp_path, "warmups", seeds=1)
    _, text = shown(study, tmp_path)
    assert "0 runs planned, 4 done" in text
    assert "Drawn from plan/plan.csv" not in text  # there is no timetable


def test_text_of_a_user_is_text(tmp_path):
    study = study_of(BETTER | {"statement": "a <b>bold</b> claim & more"}, title="<i>x</i>")
    assert "a <b>bold</b> claim & more" in shown(study, tmp_path)[1]


def test_the_timetable_has_a_bar_a_run_and_the_nodes_in_use(tmp_path):
    study = study_of(BETTER, budget={"node_hours": 10**9, "concurrent_nodes": 3, "deadline_hours": 1000})
    plan = make_plan(study, SITE, tmp_path)
    figure = timetable(plan)
    bars, nodes = figure.axes
    assert figure.get_suptitle().startswith("Predicted timetable")
    assert len(bars.patches) == len(plan.having("planned"))
    used = nodes.lines[0].get_ydata()
    assert max(used) == 3 and used[-1] == 0
    assert re.match(r"\d+ runs", bars.get_ylabel())


@pytest.mark.parametrize("limit", ["concurrent_nodes", "deadline_hours"])
def test_limits_are_drawn_only_where_there_are_any(tmp_path, limit):
    plain, limited = (
        timetable(make_plan(study_of(BETTER, budget=budget), SITE, tmp_path)).axes[1]
        for budget in ({"node_hours": 10**9}, {"node_hours": 10**9, limit: 1000})
    )
    assert len(limited.lines) == len(plain.lines) + 1


def test_claims_that_are_looked_at_with_too_few_seeds_are_named(tmp_path):
    planning = {"sd": 1.0, "smallest_effect": 2.0, "weights": {"rule": 2}}
    needed = make_plan(study_of(RULE, BETTER), SITE, tmp_path).claims[0].need.needed
    hours = make_plan(study_of(RULE, BETTER), SITE, tmp_path).runs[0].cost.node_hours
    budget = {"node_hours": (2 * needed + 2.5) * hours}
    required = {"required": [{"warmup_epochs": 0, "seed": [1, 2]}]}
    plan, text = shown(study_of(RULE, BETTER, budget=budget, planning=planning | required), tmp_path)
    assert [one.is_bought for one in plan.claims] == [True, False]
    assert "1 claim will be looked at with fewer seeds than needed (better): raise seeds or the budget" in text
    assert [row["note"] for row in _claims(plan)] == ["", "a look at it is spent with 2 seeds"]
    plan, text = shown(study_of(RULE, BETTER, budget=budget, planning=planning), tmp_path)  # of its other cell no run
    assert [one.is_bought for one in plan.claims] == [True, False]
    assert "looked at with fewer" not in text


def test_a_claim_that_the_config_has_too_few_seeds_for_is_looked_at_all_the_same(tmp_path):
    plan, text = shown(study_of(BETTER, seeds=3), tmp_path)
    assert _claims(plan)[0]["note"].endswith("and the config has 3; a look at it is spent with 3 seeds")
    assert "(better)" in text
