"""A claim that was judged at the other scale too shows both verdicts."""

import json
import shutil

import pytest
from hill.make import publish
from html_check import Page

from descent.core.errors import DataError
from descent.report import other_scales
from descent.report.judged import VERDICTS_FILE, sealed
from descent.report.page import write_page


@pytest.fixture
def both(tmp_path):
    """(results, reports/study) with a report at paper scale beside it, in which one claim was not run."""
    results, folder = publish(tmp_path)
    judged = json.loads((folder / "hill" / VERDICTS_FILE).read_text())
    for claim in judged["claims"]:
        claim.update(verdict="inconclusive", reason=f"the other scale's reason of {claim['claim']}", scale="paper")
    judged["claims"][0]["verdict"] = "not run"
    other = folder.parent / "paper" / "hill" / VERDICTS_FILE
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps(sealed(judged)))
    return results, folder, other


def test_the_page_shows_both_verdicts_and_leads_to_the_other_page(both):
    results, folder, _ = both
    text = write_page(results, folder / "hill").read_text()
    words = " ".join(Page(text).text.split())
    names = list(results.config.claims)
    words = words.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    told = [name for name in names if f"other scale's reason of {name}." in words]
    assert told == names[1:], "what was not run there is not shown"
    own = [name for name in told if results.config.claims[name].get("origin", "paper") == "paper"]
    assert words.count("At paper scale") == len(told)
    assert words.count("paper scale: inconclusive") == len(told) + len(own), "in the table, and in what was found"
    assert f'href="../../paper/hill/index.html#{told[0]}"' in text


def test_nothing_is_shown_where_nothing_is_published_and_damage_is_named(both):
    results, folder, other = both
    found = other_scales.verdicts_elsewhere(folder, "hill")
    assert set(found) == set(list(results.config.claims)[1:])
    assert (
        other_scales.verdicts_elsewhere(folder, "nobody")
        == {}
        == other_scales.verdicts_elsewhere(folder.parent / "smoke", "hill")
    )
    assert other_scales.verdicts_elsewhere(folder.parent / "study-dev", "hill") == {}, (
        "development seeds have no other scale"
    )
    before = other_scales.hashes(folder, "hill")
    other.write_text(other.read_text().replace("inconclusive", "reproduced"))
    assert other_scales.hashes(folder, "hill") != before
    with pytest.raises(DataError, match="damaged or edited"):
        other_scales.verdicts_elsewhere(folder, "hill")
    shutil.rmtree(folder.parent / "paper")
    assert (
        other_scales.hashes(folder, "hill") == []
        and "At paper scale" not in write_page(results, folder / "hill").read_text()
    )
    assert other_scales.FILE == VERDICTS_FILE


def test_a_fresh_report_elsewhere_is_given_what_its_pages_show(both, tmp_path):
    from descent.workflow.manage import _beside

    _, folder, _other = both
    (folder / "first_verdicts.csv").write_text("date,paper\n")
    fresh = tmp_path / "fresh"
    _beside(folder.parent, fresh, folder.name)
    copied = sorted(str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file())
    assert copied == ["paper/hill/verdicts.json", "study/first_verdicts.csv"]
