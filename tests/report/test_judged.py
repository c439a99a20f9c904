"""verdicts.json and cost.csv: every claim and check, the engine's words, no clock."""

import json

import pandas as pd
from hill.make import plan_of, write_results

from descent.claims.results import EFFECTS, OUTCOMES, VERDICTS, checks_frame, verdicts_frame
from descent.report import words
from descent.report.front import checks_csv, verdicts_csv
from descent.report.judged import judge_claims, judge_paper, planned

EXPECTED = {
    "c1": "reproduced", "c2": "partly", "c3": "not reproduced", "c4": "inconclusive", "c5": "not run",
    "c6": "inconclusive", "c7": "inconclusive", "x1": "reproduced", "x2": "reported",
}  # fmt: skip


def read(folder):
    return json.loads((folder / "hill" / "verdicts.json").read_text())


def test_every_verdict_and_its_reason(published):
    claims = {claim["claim"]: claim for claim in read(published[1])["claims"]}
    assert {name: claim["verdict"] for name, claim in claims.items()} == EXPECTED
    assert claims["c5"]["reason"] == "needs a GPU: roberta-large takes 35 min a run"
    assert "1 of 10 seeds diverged" in claims["c6"]["reason"]
    assert "control" in claims["c7"]["reason"] and "unmoved" in claims["c7"]["reason"]


def test_what_is_ours_is_never_counted_as_the_papers(published):
    counts = read(published[1])["counts"]
    assert sum(counts["paper"].values()) == 7 and counts["ours"] == {"reproduced": 1}
    assert counts["report-only"] == {"reported": 1}


def test_the_report_has_a_word_for_all_that_the_engine_says():
    assert set(words.VERDICTS) == set(VERDICTS) and set(words.STATES) == {*OUTCOMES, *EFFECTS} - {
        "for",
        "against",
        "none",
    }


def test_the_same_records_give_the_same_bytes_and_no_times(published, tmp_path):
    results, folder = published
    judge_paper(results, tmp_path / "verdicts.json")
    assert (tmp_path / "verdicts.json").read_bytes() == (folder / "hill" / "verdicts.json").read_bytes()
    assert 'seconds"' not in (tmp_path / "verdicts.json").read_text()


def test_times_and_memory_change_nothing_but_the_cost(published, tmp_path):
    results = write_results(plan_of(tmp_path), tmp_path)
    judge_paper(results, tmp_path / "a" / "verdicts.json")
    for path in tmp_path.rglob("run.json"):
        sidecar = json.loads(path.read_text())
        path.write_text(json.dumps({**sidecar, "cpu_seconds": 99.5, "peak_memory_mb": 1.0, "machine": "another"}))
    judge_paper(results, tmp_path / "b" / "verdicts.json")
    assert (tmp_path / "a" / "verdicts.json").read_bytes() == (tmp_path / "b" / "verdicts.json").read_bytes()
    cost = pd.read_csv(tmp_path / "b" / "cost.csv")
    assert set(cost["cpu_seconds"]) == {99.5} and set(cost["machine"]) == {"another"}
    assert len(cost) == len(results.jobs()) + 1  # and the stored measurement


def test_the_published_tables_are_the_engines(published):
    results, folder = published
    claims = judge_claims(results)
    judged = [read(folder)]
    for text, frame in ((verdicts_csv(judged), verdicts_frame(claims)), (checks_csv(judged), checks_frame(claims))):
        assert text == frame.to_csv(index=False, lineterminator="\n")


def test_commands_name_what_there_is_to_run(published):
    claims = {claim["claim"]: claim for claim in read(published[1])["claims"]}
    assert claims["c2"]["commands"] == [
        "snakemake --cores all --config scale=study papers=hill",
        "python -m descent run hill descent --scale study", "python -m descent run hill sweep --scale study",
    ]  # fmt: skip
    assert claims["c5"]["commands"] == ["snakemake --cores all --config scale=study papers=hill"]


def test_the_judge_is_told_what_must_be_there_and_what_is_not_run(published):
    results = published[0]
    told = planned(results, {name: results.records(name) for name in results.experiments()})
    assert told.lost["language"][0].reason.startswith("needs a GPU") and told.lost["language"][0].method is None
    assert any("left out at scale study" in lost.reason for found in told.lost.values() for lost in found)
    jobs = [variant for job in results.jobs("descent") for variant in job.variants]
    assert [(cell.method, cell.seeds) for cell in told.cells["descent"]] == [(v.method, v.seeds) for v in jobs]
    assert set(told.metrics) == set(results.room.metrics)


def test_smoke_gives_no_verdict(smoked):
    judged = read(smoked[1])
    assert {claim["verdict"] for claim in judged["claims"]} <= {"smoke", "not run"}
    assert judged["counts"]["paper"]["smoke"] >= 6
