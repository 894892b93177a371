"""The parts of the page on verdicts, best warmups and exponents."""

from __future__ import annotations

import html
import math
import re

import pandas as pd
import pytest

from warmscale.analysis import page_text
from warmscale.analysis.captions import exponent_caption
from warmscale.analysis.catalogue import figures_of
from warmscale.analysis.verdict_page import (
    claims_section,
    counts_text,
    read_rows,
    rules,
    seeds_text,
    unit_of,
    what_is_tested,
)
from warmscale.analysis.verdicts import CLAIM_COLUMNS
from warmscale.analysis.warmup_page import exponent_block, meanings, warmup_section
from warmscale.study import load_study
from warmscale.study.claims import Claim
from warmscale.study.metric import Metric

from .conftest import CLAIMS, EPOCHS, analysed, raw_study
from .published_runs import publish
from .test_report import Tags, page_in, section

ERROR = Metric(name="error", goal="minimize")
TOP1 = Metric()
EXPONENT = {
    "id": "grows",
    "statement": "The best warmup grows linearly.",
    "kind": "exponent",
    "experiments": ["at-64", "at-128"],
    "value": 1.0,
}


@pytest.fixture(scope="module")
def page(results) -> str:
    return page_in(results)


def claim(kind: str, **fields) -> Claim:
    return Claim(**{"id": "it", "statement": "It is so.", "kind": kind} | fields)


def claim_table(**changed) -> dict:
    """A row of tables/claims.csv."""
    row = dict.fromkeys(CLAIM_COLUMNS, math.nan)
    row |= dict.fromkeys(("statement", "note", "source", "estimand", "seeds_needed", "metric", "kind"), "")
    return row | {"claim": "two-beats-none", "verdict": "not_run", "looks": 0} | changed


def shown(study, **changed) -> dict:
    """What the page shows of a claim."""
    return claims_section(study, [claim_table(**changed)])["rows"][0]


def row_of(page: str, name: str) -> str:
    """Text of the row of a claim."""
    part = re.search(rf'<tbody id="claim-{name}">(.*?)</tbody>', page, re.DOTALL).group(1)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_verdicts_are_the_first_section_of_the_page(page):
    assert re.findall(r'<section aria-labelledby="([^"]+)"', page)[:2] == ["verdicts", "experiment-sizes"]
    assert '<li><a href="#verdicts">verdicts</a></li>' in page


def test_every_claim_has_a_row_with_its_verdict_and_the_counts_stand_above(page, results):
    text = section(page, "verdicts")
    rows = read_rows(results / "tables/claims.csv")
    assert "4 claims: 1 supported, 1 refuted, 1 inconclusive, 1 not run ." in text
    for row in rows:
        assert row_of(page, row["claim"]).startswith(row["verdict"].replace("_", " "))
        assert f'class="verdict {row["verdict"]}"' in page


def test_a_claim_has_its_statement_source_estimate_intervals_p_values_n_and_looks(page, results):
    row = pd.read_csv(results / "tables/claims.csv").set_index("claim").loc["large-learns"]
    text = row_of(page, "large-learns")
    assert "A mini-batch of 128 reaches 50 %. large-learns" in text
    assert f"{row['estimate']:.2f} % {row['ci_low']:.2f} to {row['ci_high']:.2f} mean" in text
    assert f"{row['decision_ci_low']:.2f} to {row['decision_ci_high']:.2f}" in text
    assert f"{row['p_support_adjusted']:.3g} 1 3 – 1 of 3" in text
    assert "Tested: mean > 50 %; mini-batch size 128" in text


def test_words_of_a_user_are_escaped_in_the_row_of_a_claim(page):
    assert "better than &lt;none&gt;." in page
    assert "ours &amp; others" in page


def test_a_claim_with_a_diverged_run_says_how_many_and_which_test(page):
    text = row_of(page, "two-beats-none")
    assert "3 1 diverged" in text
    assert "P(a better than b)" in text
    assert "rank test" in text
    assert "given convergence" in text


def test_a_claim_that_is_not_run_has_no_numbers_and_says_why(page):
    assert "– – – – – – 0 of 3 Tested: |a − b| < 3 pp; a: warmup 4, b: warmup 2 Note:" in row_of(page, "four-as-two")
    assert "1 of 3 runs have not ended" in row_of(page, "four-as-two")


def test_verdicts_differ_by_more_than_colour(page):
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    symbols = re.findall(r'\.verdict\.(\w+)::before \{ content: "([^"]+)"', style)
    assert [name for name, _ in symbols] == ["supported", "refuted", "inconclusive", "not_run"]
    assert len({symbol for _, symbol in symbols}) == 4


def test_the_meaning_of_verdicts_has_the_numbers_of_the_study(page):
    text = section(page, "verdicts")
    for words in (
        "With probability 95 % or more no false claim among these 4 is supported",
        "adjusted over all 4 claims by Holm's method (1979)",
        "Verdicts may be asked for 3 times while seeds are added.",
        "Each look has 1 / 3 of the risk, 1.7 % (Bonferroni)",
        "nor is a claim that is not run or has one seed in a cell. looks.csv keeps them all. Used so far: 1 of 3.",
        "it is the 90 % interval of the two one-sided tests of equivalence",
        "One seed in a cell has no spread",
        "over seeds on a fixed validation set",
        "Learning rates were not tuned again for each mini-batch size",
        "Seeds are not paired unless a claim says so.",
        "probability of 80 % if the truth lies 0.5 pp ( smallest_effect ) beyond its bound",
    ):
        assert words in text, words


def test_without_familywise_each_claim_has_the_risk_for_itself():
    study = load_study(raw_study() | {"claims": CLAIMS, "familywise": "none", "max_looks": 1})
    found = rules(study.config, [claim_table(looks=1)] * 4)
    assert (found["shared"], found["claims"], found["looks_used"], found["max_looks"]) == (False, 4, 1, 1)
    assert load_study(raw_study() | {"claims": CLAIMS[:1]}).config.familywise == "holm"
    assert rules(study.config, [claim_table()])["shared"] is False


def test_a_study_without_claims_says_how_to_write_one(tmp_path):
    study = load_study(raw_study() | {"seeds": 1, "experiments": raw_study()["experiments"][:1]})
    for run in study.runs.values():
        publish(tmp_path, run, "finished", [50.0] * EPOCHS)
    page = page_in(analysed(study, tmp_path))
    assert "This study makes no claims." in section(page, "verdicts")
    assert "claims:" in section(page, "verdicts")
    assert "experiment: sizes" in section(page, "verdicts")
    assert 'id="warmup"' not in page
    assert Tags(page).misplaced == Tags(page).open == []


def test_counts_leave_out_verdicts_that_no_claim_has():
    assert counts_text(["refuted", "not_run", "refuted"]) == "2 refuted, 1 not run"


@pytest.mark.parametrize(("needed", "text"), [("8", "8 seeds a cell"), (">16", "more than 16"), ("", "–")])
def test_seeds_needed_are_said_in_words(needed, text):
    assert seeds_text(needed) == text


@pytest.mark.parametrize(
    ("estimand", "metric", "unit"),
    [
        ("difference a - b", "top1", "pp"),
        ("mean", "top5", "%"),
        ("change from the lowest to the highest level", "error", "pp"),
        ("P(a better than b)", "top1", ""),
        ("exponent", "top1", ""),
        ("mean", "images_per_sec", ""),
    ],
)
def test_accuracies_have_percent_and_their_differences_percentage_points(estimand, metric, unit):
    assert unit_of(estimand, metric) == unit


@pytest.mark.parametrize(
    ("made", "metric", "text"),
    [
        (claim("better", a={"x": 1}, b={"x": [2, 3]}), TOP1, "a − b > 0 pp; a: x 1, b: x 2 or 3"),
        (claim("better", a={"x": 1}, b={"x": 2}, margin=0.3), ERROR, "a − b < −0.3 pp; a: x 1, b: x 2"),
        (
            claim("equivalent", experiment="e", factor="lr_scaling.rule", levels=["linear", "none"], margin=0.5),
            TOP1,
            "|a − b| < 0.5 pp; a: learning-rate scaling linear, b: learning-rate scaling none",
        ),
        (
            claim("better", experiment="e", factor="warmup_epochs", levels=[5, 0], paired=True),
            Metric(name="loss", goal="minimize"),
            "a − b < 0; a: warmup 5, b: warmup 0, runs paired by seed",
        ),
        (
            claim("best", experiment="e", factor="warmup_epochs", level=5),
            ERROR,
            "mean at warmup 5 below the mean at every other level, in e",
        ),
        (
            claim("worst", experiment="e", factor="warmup_epochs", level=0),
            TOP1,
            "mean at warmup 0 below the mean at every other level, in e",
        ),
        (
            claim("decreasing", experiment="e", factor="mini_batch_size", strict=True),
            TOP1,
            "mean decreasing from each level to the next along mini-batch size, in e",
        ),
        (claim("below", a={"x": 1, "y": "z"}, value=75.3), TOP1, "mean < 75.3 %; x 1 and y z"),
        (
            claim("exponent", experiments=["e"], value=0.5),
            TOP1,
            "0.3 < exponent < 0.7, of the best warmup by mini-batch size",
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Claim) else "",
)
def test_what_is_tested_is_said_as_a_formula(made, metric, text):
    assert what_is_tested(made, metric) == text


def test_open_ends_are_said_and_looks_beyond_the_last_are_not_counted(study):
    row = shown(study, verdict="inconclusive", estimand="exponent", ci_low=-math.inf, ci_high=math.inf, looks=5)
    assert (row["interval"], row["estimate"], row["unit"], row["looks"]) == ("unbounded", "–", "", "3 of 3")
    row = shown(study, verdict="inconclusive", estimand="difference a - b", ci_low=-math.inf, ci_high=2.0)
    assert row["interval"] == "−∞ to 2.00"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (page_text.fixed(-1.104), "−1.10"),
        (page_text.fixed(-0.001), "0.00"),
        (page_text.fixed(None), "–"),
        (page_text.p_value(0.0497), "0.0497"),
        (page_text.p_value(2e-9), "< 0.0001"),
        (page_text.p_value(math.nan), "–"),
        (page_text.number(12345), "12,345"),
        (page_text.number(-0.25), "−0.25"),
        (page_text.number(math.inf), "∞"),
        (page_text.counted(1, "run"), "1 run"),
        (page_text.counted(1200, "run"), "1,200 runs"),
        (page_text.listed("0;2;4"), "0, 2, 4"),
    ],
)
def test_numbers_are_written_for_readers(shown, text):
    assert shown == text


def test_a_level_called_na_is_read_as_text(tmp_path):
    (tmp_path / "claims.csv").write_text("claim,note,estimate,seeds_needed\nNA,none,,8\nb,,1.5,>16\n")
    rows = read_rows(tmp_path / "claims.csv")
    assert [row["claim"] for row in rows] == ["NA", "b"]
    assert [row["note"] for row in rows] == ["none", ""]
    assert [row["seeds_needed"] for row in rows] == ["8", ">16"]
    assert math.isnan(rows[0]["estimate"])


def raw_exponent(levels: list[float]) -> dict:
    """A study of the best warmup at two mini-batch sizes."""
    experiments = [
        {
            "name": f"at-{size}",
            "recipe": {"mini_batch_size": size, "workers": 2},
            "grid": {"warmup_epochs": levels},
            "figures": ["final"],
        }
        for size in (64, 128)
    ]
    return raw_study() | {"experiments": experiments, "claims": [EXPONENT], "seeds": 3}


def publish_peaks(folder, study, peaks: dict[int, float]) -> None:
    """Publish runs whose accuracy falls off from a peak at each size, percent."""
    for run in study.runs.values():
        top1 = 90 - 4 * abs(run.recipe.warmup_epochs - peaks[run.recipe.mini_batch_size]) + 0.1 * run.seed
        publish(folder, run, "finished", [top1] * EPOCHS)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> str:
    """The page of a study whose best warmup doubles with the mini-batch."""
    study, folder = load_study(raw_exponent([0, 1, 2, 3, 4, 5, 6])), tmp_path_factory.mktemp("results") / "small"
    publish_peaks(folder, study, {64: 2.0, 128: 4.0})
    return page_in(analysed(study, folder))


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> tuple:
    """Results of a study whose levels do not bracket the best warmup."""
    study, folder = load_study(raw_exponent([0, 2, 4])), tmp_path_factory.mktemp("results") / "small"
    publish_peaks(folder, study, {64: 2.0, 128: 4.0})
    return study, analysed(study, folder)


def test_the_best_warmup_has_its_interval_in_epochs_and_steps_and_whether_it_is_bracketed(grown):
    text = section(grown, "warmup")
    number = r"([0-9.]+)"
    interval = rf"{number} to {number}"
    row = rf" at-{{0}} 0, 1, 2, 3, 4, 5, 6 3 {number} {interval} {number} {interval} \S+ {interval} yes"
    for size, peak, steps_an_epoch in ((64, 2, 20), (128, 4, 10)):
        value, low, high, steps, *_ = map(float, re.search(row.format(size), text).groups())
        assert low < peak < high and low < value < high
        assert steps == pytest.approx(value * steps_an_epoch, rel=0.05)


def test_the_exponent_has_its_interval_and_what_rivals_mean_under_linear_scaling(grown):
    text = section(grown, "warmup")
    assert "The best warmup grows as the mini-batch size to the power of" in text
    found = re.search(r"to the power of (\S+) , 95 % interval (\S+) to (\S+): over at-64, at-128", text)
    value, low, high = (float(number.replace("−", "-")) for number in found.groups())
    assert low < value < high
    assert "0 a constant number of epochs; Goyal et al. 2017: always 5 epochs × 1" in text
    assert "1 a constant number of steps; LEGW, You et al. 2019, there with sqrt scaling × 4 1" in text
    assert "2 a constant increment of the rate a step × 16" in text


def test_the_figure_of_the_exponent_stands_in_its_section(grown):
    part = re.search(r'<section aria-labelledby="warmup">(.*?)</section>', grown, re.DOTALL).group(1)
    assert part.count("<figure") == 1
    assert 'id="exponent"' in part
    assert "bars: 95 % intervals, over seeds and over the shape" in section(grown, "warmup")
    assert "n, the fewest seeds of a level, at 64: 3; 128: 3." in section(grown, "warmup")
    assert 'id="exponent"' not in grown.replace(part, "")
    assert Tags(grown).misplaced == Tags(grown).open == []


def test_a_refused_exponent_says_why_and_which_levels_to_add(refused):
    _, folder = refused
    text, page = section(page_in(folder), "warmup"), page_in(folder)
    assert "Refused , for at-64, at-128: not bracketed at 95 %" in text
    assert re.search(r"Levels to add: [0-9., ]+ at 64; [0-9., ]+ at 128\.", text)
    assert re.search(r"no : the best level, 2, is beside the edge 0; 3 levels .*? levels to add: ", text)
    assert "to the power of" not in text
    assert "inconclusive" in row_of(page, "grows")
    assert "unbounded" in row_of(page, "grows")


def test_the_figure_of_an_exponent_has_its_table_beside_it(refused):
    study, folder = refused
    assert "exponent" in [entry.name for entry in figures_of(study)]
    frame = pd.read_csv(folder / "figures/exponent.csv")
    assert frame["size"].tolist() == [64, 128]
    assert not frame["bracketed"].any()


def test_an_exponent_of_runs_that_are_missing_says_so_in_page_and_figure(tmp_path):
    study = load_study(raw_exponent([0, 2, 4]))
    page = page_in(analysed(study, tmp_path))
    assert "runs have not ended" in section(page, "warmup")
    assert "No optimum to draw: " in section(page, "warmup")
    assert Tags(page).misplaced == Tags(page).open == []


def test_optima_of_other_factors_are_no_warmups():
    row = {"factor": "base_lr", "of": "mini_batch_size", "refused": "none yet", "experiments": "a"}
    row |= dict.fromkeys(("exponent", "ci_low", "ci_high", "constant_increment_is"), math.nan)
    row |= dict.fromkeys(("sizes", "scaling", "power_law_fits", "levels_to_add"), "")
    assert warmup_section([], [row])["title"] == "Best levels"
    assert exponent_block(row)["meanings"] == []
    assert warmup_section([], []) is None


@pytest.mark.parametrize(("scaling", "increment"), [("none", 1.0), ("sqrt", 1.5), ("linear", 2.0)])
def test_a_constant_increment_is_an_exponent_of_one_plus_that_of_the_scaling(scaling, increment):
    found = {row["exponent"]: row["meaning"] for row in meanings({"constant_increment_is": increment})}
    assert [name for name, text in found.items() if "increment" in text] == [f"{increment:g}"]


def test_a_caption_without_optima_says_why():
    frame = pd.DataFrame([{"kind": None, "size": math.nan, "reason": "1 of 3 runs have not ended"}])
    assert exponent_caption(frame, []) == "No optimum to draw: 1 of 3 runs have not ended."
