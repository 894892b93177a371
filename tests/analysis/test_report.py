"""The page and the bundle."""

from __future__ import annotations

import html
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml

from warmscale.analysis.catalogue import FORMATS, TABLES, figures_of, verdicts_of
from warmscale.analysis.published import read_records
from warmscale.analysis.report import config_yaml
from warmscale.analysis.report import page as make_page
from warmscale.study import load_study

from .conftest import TEMPLATE, analysed, raw_study, raw_with_claims, script
from .published_runs import publish, run_at

VOID = {"meta", "img", "br", "link"}


class Tags(HTMLParser):
    """All tags with their attributes, and what was not closed in its place."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.misplaced: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.misplaced.append(tag)


@pytest.fixture(scope="module")
def page(results) -> str:
    return page_in(results)


def page_in(results) -> str:
    """The page of a study."""
    return (results / "report" / "index.html").read_text()


@pytest.fixture(scope="module")
def tags(page) -> list[tuple[str, dict]]:
    return Tags(page).tags


def section(page: str, name: str) -> str:
    """Text of a section of the page, tags taken out."""
    part = re.search(rf'<section aria-labelledby="{name}">(.*?)</section>', page, re.DOTALL).group(1)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_the_page_needs_nothing_but_itself(page, tags):
    targets = [value for _, attributes in tags for name, value in attributes.items() if name in {"src", "href"}]
    assert targets
    assert all(target.startswith(("#", "data:image/svg+xml;base64,")) for target in targets)
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object"}
    assert "url(" not in page
    assert "@import" not in page


def test_every_tag_is_closed_in_its_place(page):
    parsed = Tags(page)
    assert (parsed.open, parsed.misplaced) == ([], [])


def test_links_within_the_page_lead_somewhere(tags):
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    links = [attributes["href"][1:] for tag, attributes in tags if tag == "a"]
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)


def test_every_figure_is_in_the_page_with_a_text_in_its_place(study, tags):
    images = [attributes for tag, attributes in tags if tag == "img"]
    compared = [entry for entry in figures_of(study) if not entry.name.startswith("trainings-")]  # all on one rank
    assert len(images) == len(compared)
    assert all(len(image["alt"]) > 40 for image in images)


def test_every_table_heading_says_what_it_heads(tags):
    headings = [attributes for tag, attributes in tags if tag == "th"]
    assert {heading.get("scope") for heading in headings} == {"col", "row"}


def test_title_and_note_are_escaped(page):
    assert "<title>Small &amp; &lt;simple&gt;</title>" in page
    assert "Costs $5 &amp; $6 a &lt;b&gt;run&lt;/b&gt;" in page
    assert "<b>run" not in page


def test_the_summary_line_counts_runs_by_state(page):
    states = re.search(r'<ul class="states".*?</ul>', page, re.DOTALL).group(0)
    words = re.sub(r"<[^>]+>", " ", states).split()
    assert words == ["1", "pending", "12", "finished", "1", "diverged", "1", "failed"]


def test_captions_name_n_interval_metric_rule_and_table(page):
    text = section(page, "experiment-warmup")
    assert "n: 3 seeds, 1 diverged at 0; 3 seeds at 2; 1 of 3 seeds at 4." in text
    assert "95 % t-interval of the mean over seeds" in text
    assert "The metric of a run is the median of its last five epochs." in text
    assert "One seed in a cell has no interval and supports no verdict." in text
    assert "figures/warmup-curves.csv" in text
    assert "they count at chance level, 10 %, in mean and interval" in text


def test_the_summary_of_an_experiment_has_a_row_a_level(page, tables):
    rows = section(page, "experiment-warmup").partition("pending")[2]
    own = tables.runs[tables.runs["experiments"].str.contains("warmup") & (tables.runs["warmup_epochs"] == 2)]
    assert f"2 3 3 {own['top1'].mean():.2f} {own['top1'].std():.2f}" in rows
    assert re.search(r"4 3 1 ([0-9.]+) – – \1 0 1 1", rows)


def test_a_cell_with_a_diverged_run_has_the_interval_of_its_share_and_the_mean_of_the_others(page, tables, nothing_yet):
    text = section(page, "experiment-warmup")
    own = tables.runs[tables.runs["experiments"].str.contains("warmup") & (tables.runs["warmup_epochs"] == 0)]
    assert own["state"].tolist().count("diverged") == 1
    converged = own.loc[own["state"] == "finished", "top1"].mean()
    assert f" {converged:.2f} 1 of 3 0.8 to 90.6 % 0 0" in text  # Clopper and Pearson 1934
    assert "the 95 % interval of the chance to diverge" in text
    assert "mean of converged" not in section(page_in(nothing_yet), "experiment-warmup")


def test_divergences_and_failures_are_listed_with_their_reason(page, odd_runs):
    text = section(page, "failures")
    assert f"{odd_runs['diverged']} diverged diverged at step 12, after 3 whole epochs" in text
    assert f"{odd_runs['failed']} failed node : the node went away" in text
    assert "1: failed, 10 steps, node1, 2026-01-02 04:04:05 UTC" in text
    assert odd_runs["pending"] not in text


def test_every_run_is_in_the_runs_table(page, study):
    text = section(page, "runs")
    assert all(run_id in text for run_id in study.runs)


def test_the_result_of_a_run_stands_beside_its_state(page, tables):
    run = tables.runs[tables.runs["state"] == "finished"].iloc[0]
    assert section(page, "runs").count(f"{run['run_id']} finished {run['top1']:.2f} {run['top5']:.2f} ") == 1


def test_provenance_has_versions_commit_device_and_the_end_of_the_newest_run(page):
    text = section(page, "provenance")
    for words in ("0123abc", "deepspeed 0.19.8, torch 2.14.1", "A processor, 2 cores (cpu)", "node1"):
        assert words in text
    assert "newest run ended 2026-01-02 04:04:05 UTC" in text


def test_the_config_is_in_the_page_as_it_was_written(page, study):
    shown = re.search(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL).group(1)
    assert yaml.safe_load(html.unescape(shown)) == raw_with_claims()
    assert list(yaml.safe_load(config_yaml(study))) == list(raw_with_claims())


def test_without_failures_the_page_says_none(tmp_path):
    raw = raw_study()
    study = load_study(raw | {"experiments": raw["experiments"][:1]})
    for run in study.runs.values():
        publish(tmp_path, run, "finished", [50.0] * 8)
    text = section(page_in(analysed(study, tmp_path)), "failures")
    assert text == "Divergences and failures None: no run diverged and none failed."


def test_with_all_runs_pending_the_page_is_whole(nothing_yet):
    page = page_in(nothing_yet)
    assert Tags(page).misplaced == []
    assert "No run has ended yet." in section(page, "provenance")
    assert "15 pending" in " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_what_a_run_says_of_its_failure_is_escaped(tmp_path):
    raw = raw_study()
    study = load_study(raw | {"experiments": raw["experiments"][:1]})
    run = run_at(study, "sizes")
    bare = {"versions": None, "commit": {"hash": None, "dirty": None}, "device_name": None, "attempts": []}
    publish(tmp_path, run, "failed", [], failure="<script>alert(1)</script>", **bare)
    page = page_in(analysed(study, tmp_path))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_bundle_holds_page_figures_tables_verdicts_config_and_runs(study, results, odd_runs):
    with zipfile.ZipFile(results / "report.zip") as bundle:
        names = bundle.namelist()
        config = yaml.safe_load(bundle.read("config.yaml"))
        assert bundle.read("index.html") == (results / "report" / "index.html").read_bytes()
        assert bundle.testzip() is None
    expected = {"index.html", "config.yaml"}
    expected |= {f"figures/{entry.name}.{suffix}" for entry in figures_of(study) for suffix in (*FORMATS, "csv")}
    expected |= {f"tables/{table}.{suffix}" for table in TABLES for suffix in ("csv", "parquet")}
    expected |= {"looks.csv", *(f"tables/{table}.csv" for table in verdicts_of(study))}
    expected |= {f"runs/{run_id}/run.json" for run_id in study.runs if run_id != odd_runs["pending"]}
    assert set(names) == expected
    assert names == sorted(names)
    assert config == raw_with_claims()


def test_writing_the_report_again_gives_the_same_bytes(study, results):
    paths = [results / "report.zip", results / "report" / "index.html"]
    before = [path.read_bytes() for path in paths]
    script("write_report").write_report(study, results, TEMPLATE)
    assert [path.read_bytes() for path in paths] == before


def test_imported_runs_are_counted_and_name_their_source(study, tables, results):
    runs = tables.runs.assign(imported=["theirs.csv"] + [None] * (len(tables.runs) - 1))
    made = make_page(study, replace(tables, runs=runs), read_records(study.runs, results), results, TEMPLATE)
    assert "15 runs, 1 of them imported, in 3 experiments" in " ".join(made.split())
    assert "imported from" in section(made, "runs")
    assert section(made, "runs").count("theirs.csv") == 1
