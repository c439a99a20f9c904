"""A paper's page: everything is on it, nothing is asked of the outside, the same records give the same bytes."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hill.make import ACCURACY, plan_of, write_results
from html_check import Page

from descent.config.model import PaperConfig
from descent.core.errors import DataError
from descent.report.finals import final_values, finals, summarise
from descent.report.html import arxiv, criterion, prose
from descent.report.page import write_page
from descent.report.runs import runs_of
from descent.report.tables import spans
from descent.report.words import VERDICTS, interval, number, sentence, spark


@pytest.fixture(scope="module")
def page(published):
    return Page((published[1] / "hill" / "index.html").read_text())


@pytest.mark.parametrize("name", ["hill/index.html", "hill/cost.html", "index.html", "cost.html"])
@pytest.mark.parametrize("scale", ["published", "smoked"])
def test_pages_are_balanced_and_self_contained(scale, name, request):
    folder = request.getfixturevalue(scale)[1]
    text = (folder / name).read_text()
    page = Page(text)
    assert page.faults == []
    assert [load for load in page.loads if not load.startswith("data:")] == []
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)|fetch\(|XMLHttpRequest|import\(", text)
    outside = [link for link in page.links if re.match(r"(https?:)?//", link)]
    assert all(link.startswith("https://arxiv.org/abs/") for link in outside)
    for link in set(page.links) - set(outside):
        path, _, anchor = link.partition("#")
        target = (folder / name).parent / path if path else folder / name
        assert target.is_file(), link
        if anchor:
            assert anchor in Page(target.read_text()).ids, link
    assert all(image.get("alt") for image in page.images)


def test_every_claim_check_reason_and_command_is_there(page, published):
    judged = json.loads((published[1] / "hill" / "verdicts.json").read_text())
    for claim in judged["claims"]:
        assert claim["claim"] in page.ids
        assert VERDICTS[claim["verdict"]].label in page.text
        for words in (claim["statement"], claim["source"], claim["note"], claim["paper_value"], *claim["commands"]):
            assert not words or " ".join(words.split()).replace("->", "→") in page.text.replace("->", "→"), words
        for check in claim["checks"]:
            assert check["check"] in page.text and check["quantity"] in page.text
            assert check["estimate"] is None or number(check["estimate"]) in page.text
            assert check["ci_low"] is None or interval(check["ci_low"], check["ci_high"]) in page.text
            assert " ".join(check["reason"].split())[1:] in page.text


def test_what_was_found_is_said_before_the_numbers(page, published):
    """The paper's claims by verdict, in the order of the verdicts; ours and what is only reported stand further down."""
    judged = json.loads((published[1] / "hill" / "verdicts.json").read_text())
    own = [claim for claim in judged["claims"] if claim["origin"] == "paper"]
    found = page.text[page.text.index("Of the paper's") : page.text.index("The paper's number")]
    assert f"Of the paper's {len(own)} claims:" in found
    order = sorted(own, key=lambda claim: list(VERDICTS).index(claim["verdict"]))
    places = [found.index(" ".join(claim["statement"].split())) for claim in order]
    assert places == sorted(places)
    for claim in judged["claims"]:
        assert claim in own or " ".join(claim["statement"].split()) not in found


def test_figures_are_inside_and_shown_once(page):
    assert [image["src"].split(",")[0] for image in page.images] == ["data:image/png;base64"] * 3
    assert {"figure-F1", "figure-F2", "figure-F3", "figure-F4"} <= set(page.ids)
    assert "Not run: needs a GPU: roberta-large takes 35 min a run" in page.text


def test_what_was_run_and_what_was_not(page):
    for words in ("step_size = 0.3 (chosen by tune)", "1000 to 1009", "200 to 202", "left out at scale study", "sam (data = rough)",
                  "device auto: ran on the CPU", "0123456789abcdef", "torch 2.13.0", "study/descent/sam, data=plain",
                  "The thresholds are ours", "about 155", "valley sweep, descent", "5ca1ab1e", "smoothing = 0.01, 0.02, 0.05, 0.1, 0.2"):  # fmt: skip
        assert words in page.text, words


def test_text_of_the_configuration_cannot_break_the_page(page):
    assert 'trace of the Hessian <H>, "curvature" & co.' in page.text


def test_final_values_are_means_and_t_intervals(published):
    table = finals(published[0], "descent")
    cells = {(method, setting["data"]): cells for method, setting, cells in table.rows}
    frame = final_values(published[0].records("descent"))
    rows = frame[(frame["method"] == "gd") & (frame["data"] == "plain") & (frame["metric"] == "accuracy")]
    cell = cells["gd", "plain"]["accuracy"]
    assert cell.n == 10 and cell.value == pytest.approx(rows["value"].mean())
    half = 2.262157 * rows["value"].std() / np.sqrt(10)
    assert (cell.low, cell.high) == pytest.approx((cell.value - half, cell.value + half), rel=1e-6)
    assert abs(cell.value - ACCURACY["gd"]) < 0.005
    assert table.metrics == ["loss", "curvature", "accuracy"] and table.statistics["loss"] == "geometric mean"
    assert ("sam", "rough") not in cells


def test_a_diverged_seed_is_counted_and_not_averaged_away(published, page):
    cell = next(c for m, s, c in finals(published[0], "descent").rows if (m, s["data"]) == ("drift", "rough"))
    assert np.isnan(cell["curvature"].value) and cell["curvature"].not_ok == "1 of 10 diverged"
    assert not np.isnan(cell["accuracy"].value)
    assert "1 of 10 diverged" in page.text
    table = pd.read_csv(published[1] / "hill" / "results.csv")
    row = table[(table["method"] == "drift") & (table["setting"] == "data=rough") & (table["metric"] == "curvature")]
    assert row["n"].item() == 10 and row["n_ok"].item() == 9 and np.isnan(row["value"].item())


@pytest.mark.parametrize(
    ("values", "statuses", "shown"),
    [([1.0], ["ok"], "1"), ([], [], "n/a"), ([2.0, 2.0], ["ok", "ok"], "2"), ([1, np.inf], ["ok", "censored"], "n/a")],
)
def test_few_equal_or_lost_values(values, statuses, shown):
    cell = summarise(np.array(values, float), statuses)
    assert number(cell.value) == shown
    assert not cell.has_interval  # equal values do not say how they vary


def test_the_same_records_give_the_same_page_whatever_they_cost(published, tmp_path):
    results = write_results(plan_of(tmp_path), tmp_path)
    source = published[1] / "hill"
    for path in tmp_path.rglob("run.json"):
        sidecar = json.loads(path.read_text())
        path.write_text(json.dumps({**sidecar, "wall_seconds": 7777.0, "cpu_seconds": 7777.0, "peak_memory_mb": 7777.0,
                                    "machine": "another machine"}))  # fmt: skip
    target = tmp_path / "hill"
    (target / "figures").mkdir(parents=True)
    for path in (source / "verdicts.json", *sorted((source / "figures").iterdir())):
        (target / path.relative_to(source)).write_bytes(path.read_bytes())
    write_page(results, target)
    for name in ("index.html", "results.csv"):
        assert (target / name).read_bytes() == (source / name).read_bytes()
    assert "7777" in (target / "cost.html").read_text().replace("\N{NARROW NO-BREAK SPACE}", "")
    assert "another machine" in (target / "cost.html").read_text()


def test_smoke_says_that_it_decides_nothing(smoked):
    page = Page((smoked[1] / "hill" / "index.html").read_text())
    assert "smoke: no verdicts" in page.text and "valley (stand-in: made_up)" in page.text
    assert "reproduced" not in page.text[: page.text.index("What the words mean")]


def test_a_page_without_verdicts_is_refused_in_one_sentence(published, tmp_path):
    with pytest.raises(DataError, match=r"verdicts\.json is missing: judge the paper"):
        write_page(published[0], tmp_path)


def test_the_page_names_the_keys_of_the_mirror(published, page):
    for run in runs_of(published[0]):
        assert run.key in page.text
    keys = [run.key for run in runs_of(published[0])]
    assert len(set(keys)) == len(keys) and "study/sweep/climb" in keys


def test_runs_are_folded_until_there_are_few(published):
    assert len(runs_of(published[0])) == 10
    folded = runs_of(published[0], most=6)
    assert len(folded) == 7  # methods and experiments stay apart; the axis `data` is inside
    assert {"data"} <= {axis for run in folded if run.experiment == "descent" for axis in run.inside}
    assert sum(len(run.variants) for run in folded) == sum(len(run.variants) for run in runs_of(published[0]))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.26053, "0.2605"), (-1.354, "−1.354"), (8.53e-06, "8.53e−6"), (11636.2, "11 636"), (0, "0"), (None, "n/a"),
     (float("nan"), "n/a"), ("inf", "∞"), ("-inf", "−∞"), (1234.5, "1234"), (100, "100"), (1e6, "1e6"), (0.9995, "0.9995"),
     (2.5e7, "2.5e7"), (1000.0, "1000")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text.replace(" ", "\N{NARROW NO-BREAK SPACE}")


def test_small_words():
    assert spans([1003, 1000, 1001, 1005]) == "1000 to 1001, 1003, 1005"
    assert criterion("<= -0.22") == "≤\N{NO-BREAK SPACE}−0.22".replace("&lt;", "<")
    assert str(criterion("< 0.5")) == "&lt;\N{NO-BREAK SPACE}0.5"
    assert sentence("the interval lies below 1") == "The interval lies below 1."
    assert sentence("convex (method zo): none") == "convex (method zo): none."
    assert sentence("data=plain: it holds") == "data=plain: it holds."
    assert str(prose("a `b<c` & d -> e\n\nnext")) == "a <code>b&lt;c</code> &amp; d → e<br><br>next"
    assert 'href="https://arxiv.org/abs/2506.05454"' in arxiv("arXiv 2506.05454, NeurIPS <2025>")


def test_the_drawing_of_an_interval_needs_no_colour_and_says_what_it_shows():
    drawing = spark(0.26, 0.23, 0.29, [0.5])
    assert 'aria-label="interval [0.23, 0.29], estimate 0.26, threshold 0.5"' in drawing and "#" not in drawing
    assert spark(None, None, None) == "" and spark(1.0, "-inf", 2.0) == "" and "NaN" not in spark(0, 0, 0, [0])


def test_paper_config_has_what_the_page_reads():
    assert {"summary", "notes", "reported", "budget"} <= set(PaperConfig.__dataclass_fields__)
