"""A claim on fresh seeds keeps its first verdict beside it."""

import pytest
from hill.make import publish
from html_check import Page

from descent.report import first


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """(results, folder): the synthetic paper, with a row for its claims and one experiment moved to fresh seeds."""
    root = tmp_path_factory.mktemp("moved")
    results, folder = publish(root)
    rows = ["date,seeds,paper,claim,verdict,scale,reason"]
    for claim in results.config.claims:
        rows += [f"2026-01-02,1000,hill,{claim},partly,study,the old reason of {claim}"]
        rows += [f"2026-02-03,2000,hill,{claim},inconclusive,study,the second reason of {claim}"]
        rows += [
            f"2026-01-02,1000,hill,{claim},partly,paper,the word of the other report",
            f"2026-01-02,1000,other,{claim},partly,study,other",
        ]
    (folder / first.FIRST_FILE).write_text("\n".join(rows) + "\n")
    return results, folder


def _page(results, folder):
    from descent.report.page import write_page

    return " ".join(Page(write_page(results, folder / "hill").read_text()).text.split())


def test_only_claims_on_fresh_seeds_show_it(moved):
    results, folder = moved
    assert "First verdict" not in _page(results, folder), "no experiment of it runs on fresh seeds"
    results.config.experiments["descent"].seeds_from = "fresh"
    reads = {name for name in results.config.claims if f"the old reason of {name}" in _page(results, folder)}
    told = {c for c in results.config.claims if "descent" in str(results.config.claims[c])}
    assert reads == told and told and told != set(results.config.claims)
    text = _page(results, folder)
    assert "2026-01-02" in text and "the word of the other report" not in text
    claim = min(told)
    told_in_order = (
        f"First verdict (2026-01-02, on seeds from 1000, as the claim was then written): partly, because the old reason of {claim}. "
        f"Then (2026-02-03, on seeds from 2000, as the claim was then written): inconclusive, because the second reason of {claim}. "
        "The verdict above is that of fresh seeds, from 2000."
    )
    assert told_in_order in text
    results.config.experiments["descent"].seeds_from = "again"
    assert "The verdict above is that of fresh seeds, from 3000." in _page(results, folder)


def test_a_scale_has_its_own_word(moved):
    results, _ = moved
    config = results.config
    config.experiments["descent"].seeds_from = "verdict"
    assert first.fresh_seeds(config, ["descent"], "study") == []
    config.experiments["descent"].scales["study"].seeds_from = "fresh"
    assert first.fresh_seeds(config, ["descent"], "study") == [2000]
    assert first.fresh_seeds(config, ["descent"], "smoke") == []
