"""Claims like those of zoflat.md section 5, written in YAML and judged on synthetic records to every verdict."""

import json

import numpy as np
import pytest
import yaml
from making import curve, frames, rows

from descent.claims import cell, checks_frame, parse_claims, reference_faults, verdicts_frame
from descent.claims.judge import judge
from descent.claims.results import CHECK_COLUMNS, VERDICT_COLUMNS
from descent.core.errors import ConfigError

CLAIMS = yaml.safe_load("""
c1:
  statement: ZO drifts to flat minima; GD and its l->0 control do not.
  tag: paraphrase
  source: "[paper] Fig. 1"
  origin: paper
  headline: ratio_gd
  paper_value: "trace 155 -> about 30 [fig]"
  figure: F1
  note: The thresholds are ours.
  checks:
    ratio_gd:
      about: trace of ZO over GD at the end
      values:
        zo: &zo {experiment: toy, method: zo, where: {smoothing: 0.1}, metric: trace, at: last}
        gd: {experiment: toy, method: gd, metric: trace, at: last}
      statistic: zo / gd
      estimator: {mean: t, level: 0.95}
      predicate: {below: 0.5}
    ratio_dd:
      values: {zo: *zo, dd: {experiment: toy, method: dd, metric: trace}}
      statistic: zo / dd
      estimator: {mean: t}
      predicate: {below: 0.5}
    loss:
      about: median loss of ZO over the last 1000 steps
      values:
        loss: {experiment: toy, method: zo, where: {smoothing: 0.1}, metric: loss,
               at: {from: 99000, to: last, reduce: median}}
      predicate: {below: 1.0e-2, on: every_unit}
    frozen:
      over: {method: [gd, dd]}
      values:
        end: {experiment: toy, method: "{method}", metric: trace}
        early: {experiment: toy, method: "{method}", metric: trace, at: 1000}
      statistic: abs(end / early - 1)
      predicate: {below: 1e-6, on: every_unit}
  rules:
    reproduced: {all: [ratio_gd, ratio_dd, loss, frozen]}
    partly: {all: [ratio_gd, ratio_dd]}
    not_reproduced: {any: [{fails: ratio_gd}, {fails: ratio_dd}]}
c2:
  statement: Larger l gives flatter, at the predicted speed.
  headline: {check: rate, l: 0.1}
  checks:
    order:
      values:
        large: {experiment: toy, method: zo, where: {smoothing: 0.1}, metric: trace}
        middle: {experiment: toy, method: zo, where: {smoothing: 0.05}, metric: trace}
        small: {experiment: toy, method: zo, where: {smoothing: 0.01}, metric: trace}
      estimator: {mean: t}
      predicate: {ordered: ascending, on: every_unit}
    on_average:
      values: {trace: {experiment: toy, method: zo, across: {smoothing: [0.1, 0.05, 0.01]}, metric: trace}}
      estimator: {mean: t}
      predicate: {ordered: ascending, on: estimate}
    rate:
      over: {l: [0.1, 0.05]}
      values:
        end: {experiment: toy, method: zo, where: {smoothing: "{l}"}, metric: trace}
        early: {experiment: toy, method: zo, where: {smoothing: "{l}"}, metric: trace, at: 1000}
      statistic: -log(end / early) / (2 * 0.001 * {l} ** 2 * 99000)
      estimator: {mean: t}
      predicate: {inside: [0.7, 1.1], on: estimate}
  rules:
    reproduced: {all: [order, rate]}
    partly: {all: [order]}
    not_reproduced: {any: [{fails: on_average}]}
c3: &gap
  statement: SVM, ZO ends flatter than GD on both datasets.
  headline: flatter
  checks: &gap_checks
    flatter: &flatter
      about: log trace, ZO minus GD, on {data}
      over: {data: [a5a, w5a]}
      values: &pair
        zo: {experiment: svm, method: zo, where: {data: "{data}"}, metric: trace}
        gd: {experiment: svm, method: gd, where: {data: "{data}"}, metric: trace}
      statistic: log(zo) - log(gd)
      estimator: {mean: t}
      predicate: {below: log(0.8)}
    any_flatter: {<<: *flatter, predicate: {below: 0}}
    contains_zero: {<<: *flatter, predicate: {contains: 0}}
    falls:
      over: {data: [a5a, w5a]}
      values:
        end: {experiment: svm, method: zo, where: {data: "{data}"}, metric: trace}
        start: {experiment: svm, method: zo, where: {data: "{data}"}, metric: trace, at: first}
      statistic: end - start
      predicate: {below: 0, on: every_unit}
  rules:
    reproduced: {all: [flatter, falls]}
    partly: {any: [flatter, any_flatter]}
    not_reproduced: {any: [{all: [contains_zero]}, {all: [{fails: any_flatter}]}]}
c5:
  statement: ZO is not buying flatness with failure.
  headline: gap
  checks:
    gap:
      over: {data: [a5a, w5a], model: [svm, logistic]}
      values:
        gd: {experiment: accuracy, method: gd, where: {data: "{data}", model: "{model}"}, metric: acc}
        zo: {experiment: accuracy, method: zo, where: {data: "{data}", model: "{model}"}, metric: acc}
      statistic: gd - zo
      estimator: {mean: t}
      predicate: {below: 0.05}
  rules:
    reproduced: {all: [gap]}
    partly: {at_least: 3, of: [gap]}
    not_reproduced: {at_least: 2, of: [{fails: gap}]}
c6:
  statement: Fine-tuning with ZO lowers the trace along with the loss, as GD does.
  headline: {check: fall, rule: zo}
  checks:
    fall:
      over: {rule: [zo, gd]}
      values:
        end: {experiment: lm, method: "{rule}", metric: trace}
        top: {experiment: lm, method: "{rule}", metric: trace, at: {reduce: max}}
      statistic: log(end) - log(top)
      estimator: {mean: t}
      predicate: {below: log(0.5)}
    net:
      over: {rule: [zo, gd]}
      values:
        end: {experiment: lm, method: "{rule}", metric: trace}
        start: {experiment: lm, method: "{rule}", metric: trace, at: first}
      statistic: log(end) - log(start)
      estimator: {mean: t}
      predicate: {below: 0}
    learns:
      over: {rule: [zo, gd]}
      values:
        end: {experiment: lm, method: "{rule}", metric: loss}
        start: {experiment: lm, method: "{rule}", metric: loss, at: first}
      statistic: end / start
      predicate: {below: 0.1, on: every_unit}
  rules:
    reproduced: {all: [fall, net, learns]}
    partly: {any: [{all: [fall]}, {any: {all: [fall, net, learns]}, each: rule}]}
    not_reproduced: {all: [{not: {holds: fall}}]}
x1:
  statement: At matched training loss ZO is flatter.
  origin: report-only
  headline: matched
  checks:
    matched:
      values:
        loss: {experiment: toy, method: zo, where: {smoothing: 0.1}, metric: loss}
        zo: {experiment: toy, method: zo, where: {smoothing: 0.1}, metric: trace}
        gd: {experiment: toy, method: gd, metric: trace, at: {first_below: loss, watch: loss, give: value}}
      statistic: log(zo) - log(gd)
      estimator: {mean: t}
""")
PAPER = {"paper": "zoflat", "claims": CLAIMS}
STEPS = [0, 1000, 99000, 99500, 100000]


def noise(n, size=0.03, seed=0):
    return 1 + size * np.random.default_rng(seed).standard_normal(n)


def toy(n=10, zo=0.2, loss=1e-4, drift=0.0, shift=0.0):
    """Records of the test function in which ZO ends at `zo` times GD's trace (which moves by `drift`)."""
    parts = []
    for s in range(n):
        scale = 180 * noise(n)[s]
        for method in ("gd", "dd"):
            trace = [scale * 1.05, scale, scale, scale, scale * (1 + drift)]
            parts.append(curve("toy", "trace", STEPS, trace, seed=1000 + s, method=method))
            parts.append(curve("toy", "loss", STEPS, [8, 1e-9, 1e-12, 1e-15, 1e-20], seed=1000 + s, method=method))
        for i, smoothing in enumerate((0.1, 0.05, 0.01)):
            end = scale * noise(n, seed=i + 1)[s] * np.exp(-2e-3 * smoothing**2 * 99000 * 0.9 - shift * (i == 2))
            end = scale * zo * noise(n, seed=9)[s] if smoothing == 0.1 and zo != 0.2 else end
            trace = [scale * 1.1, scale, end, end, end]
            parts.append(curve("toy", "trace", STEPS, trace, seed=1000 + s, method="zo", smoothing=smoothing))
            losses = [8, loss, loss, loss, loss]
            parts.append(curve("toy", "loss", STEPS, losses, seed=1000 + s, method="zo", smoothing=smoothing))
    return [row for part in parts for row in part]


def svm(n=5, a5a=0.4, w5a=0.3, spread=0.03):
    parts = []
    for data, ratio in (("a5a", a5a), ("w5a", w5a)):
        if ratio is None:
            continue
        gd = 11636 * noise(n, 0.01, 3)
        parts += [rows("svm", "trace", 10900 * noise(n, 0.01, 4), method="zo", data=data, step=0)]
        parts += [rows("svm", "trace", gd * ratio * noise(n, spread, 5), method="zo", data=data, step=10000)]
        parts += [rows("svm", "trace", gd, method="gd", data=data, step=10000)]
    return [row for part in parts for row in part]


def accuracy(n=5, gaps=(0.032, 0.009, 0.015, 0.002)):
    parts = []
    cells = [(d, m) for d in ("a5a", "w5a") for m in ("svm", "logistic")]
    for (data, model), gap in zip(cells, gaps, strict=True):
        acc = 0.84 + 0.002 * np.random.default_rng(1).standard_normal(n)
        parts += [rows("accuracy", "acc", acc, method="gd", data=data, model=model, step=10)]
        parts += [rows("accuracy", "acc", acc - gap * noise(n, 0.02), method="zo", data=data, model=model, step=10)]
    return [row for part in parts for row in part]


def lm(n=5, zo=22.0, gd=8.0, loss=0.002):
    parts = []
    for method, end in (("zo", zo), ("gd", gd)):
        for s in range(n):
            wobble = noise(n, 0.05, 7)[s]
            parts.append(
                curve("lm", "trace", [0, 200, 1500], [128, 576 * wobble, end * wobble], seed=1000 + s, method=method)
            )
            parts.append(curve("lm", "loss", [0, 200, 1500], [0.7, 0.2, loss], seed=1000 + s, method=method))
    return [row for part in parts for row in part]


def verdict(name, *records, **more):
    result = {r.claim: r for r in judge(PAPER, frames(*records), scale=more.pop("scale", "study"), **more)}[name]
    return result.verdict, result


@pytest.mark.parametrize(
    ("name", "records", "expected"),
    [
        ("c1", toy(), "reproduced"),
        ("c1", toy(loss=0.05), "partly"),  # a side condition fails
        ("c1", toy(drift=1e-3), "partly"),
        ("c1", toy(zo=0.8), "not reproduced"),
        ("c1", toy(zo=0.5), "inconclusive"),  # the interval reaches 0.5
        ("c1", toy(n=2), "inconclusive"),
        ("c2", toy(), "reproduced"),
        ("c2", toy(shift=0.01), "reproduced"),
        ("c2", toy(zo=0.5), "partly"),  # order holds, rate does not
        ("c2", toy(zo=1.3), "not reproduced"),
        ("c3", svm(), "reproduced"),
        ("c3", svm(w5a=0.95), "partly"),
        ("c3", svm(a5a=0.9, w5a=0.9), "partly"),
        ("c3", svm(a5a=1.0, w5a=1.0, spread=0.2), "not reproduced"),
        ("c3", svm(a5a=1.5, w5a=1.5), "not reproduced"),
        ("c3", svm(n=4), "inconclusive"),
        ("c5", accuracy(), "reproduced"),
        ("c5", accuracy(gaps=(0.2, 0, 0, 0)), "partly"),
        ("c5", accuracy(gaps=(0.2, 0.2, 0, 0)), "not reproduced"),
        ("c5", accuracy(gaps=(0.05, 0.05, 0, 0)), "inconclusive"),
        ("c6", lm(), "reproduced"),
        ("c6", lm(zo=180), "partly"),  # a hump but no net fall
        ("c6", lm(zo=400), "partly"),  # only GD
        ("c6", lm(zo=400, gd=400), "not reproduced"),
    ],
)
def test_every_verdict(name, records, expected):
    got, result = verdict(name, records)
    assert got == expected, [(c.check, c.instance, c.outcome, c.reason) for c in result.checks]


def test_a_missing_dataset_leaves_at_most_partly_and_says_why():
    reason = "w5a not available from https://example.org"
    got, result = verdict("c3", svm(w5a=None), missing={cell("svm", data="w5a"): reason})
    assert got == "partly" and reason in result.reason
    assert {c.outcome for c in result.checks if c.instance == "data=w5a"} == {"missing"}


def test_nothing_recorded_is_not_run_with_the_reason():
    got, result = verdict("c6", svm(), missing={"lm": "no checkpoint given"})
    assert (got, result.reason) == ("not run", "no checkpoint given")


def test_a_scale_that_does_not_test_the_claim():
    claims = {"c7": {**CLAIMS["c1"], "scales": ["paper"], "elsewhere": "needs a GPU"}}
    (result,) = judge({"paper": "zoflat", "claims": claims}, frames(toy()), scale="study")
    assert (result.verdict, result.reason) == ("not run", "needs a GPU")
    (result,) = judge({"paper": "zoflat", "claims": claims}, frames(toy()), scale="paper")
    assert result.verdict == "reproduced"


def test_smoke_gives_no_verdict_whatever_is_recorded():
    results = {r.claim: r for r in judge(PAPER, frames(toy(), svm()), scale="smoke", missing={"lm": "no checkpoint"})}
    for name in ("c1", "c2", "c3", "x1"):
        assert results[name].verdict == "smoke" and {c.outcome for c in results[name].checks} == {"smoke"}
    assert (results["c6"].verdict, results["c6"].reason) == ("not run", "no checkpoint")


def test_a_report_only_claim_is_reported_and_matches_losses():
    got, result = verdict("x1", toy(loss=1e-10))
    assert got == "reported"
    # GD's loss first reaches ZO's at step 99000, where its trace is the frozen one
    assert result.headline.estimate == pytest.approx(np.log(np.exp(-2e-3 * 0.01 * 99000 * 0.9)), abs=0.05)


def test_reasons_are_sentences_with_the_numbers():
    _, result = verdict("c1", toy(zo=0.5))
    assert result.reason.startswith("the 95 % interval [")
    assert "of the mean over 10 seeds reaches 0.5" in result.reason
    _, result = verdict("c1", toy(n=2))
    assert "2 seeds are too few: a verdict needs 5" in result.reason


def test_tables_have_the_promised_columns_and_the_same_bytes():
    records = frames(toy(), svm(), accuracy(), lm())
    one, two = (judge(PAPER, records, scale="study") for _ in range(2))
    verdicts = verdicts_frame(one)
    assert tuple(verdicts.columns) == VERDICT_COLUMNS and len(verdicts) == len(CLAIMS)
    checks = checks_frame(one)
    assert tuple(checks.columns) == CHECK_COLUMNS
    assert len(checks) == 1 + 1 + 1 + 2 + 1 + 1 + 2 + 4 * 2 + 4 + 3 * 2 + 1
    assert verdicts.to_csv() == verdicts_frame(two).to_csv() and checks.to_csv() == checks_frame(two).to_csv()
    head = verdicts.iloc[0]
    assert head["n_seeds"] == 10 and head["threshold"] == "< 0.5" and head["experiment"] == "toy"
    assert head["paper_value"] == "trace 155 -> about 30 [fig]"
    json.dumps([r.to_dict() for r in one], allow_nan=False)


def test_shuffled_records_give_the_same_result():
    records = frames(toy(), svm(), accuracy(), lm())
    mixed = {name: part.sample(frac=1, random_state=3) for name, part in records.items()}
    assert judge(PAPER, records, scale="study") == judge(PAPER, mixed, scale="study")


def test_references_are_checked_before_anything_is_run():
    claims = parse_claims(CLAIMS)
    cards = {
        "toy": {"methods": ["gd", "zo", "dd"], "axes": {"smoothing": [0.1, 0.05]}},
        "svm": {"methods": ["gd", "zo"], "axes": {"data": ["a5a", "w5a"]}},
        "acuracy": {"methods": ["gd", "zo"], "axes": {}},
        "lm": {"methods": ["gd", "zo"], "axes": {}},
    }
    faults = reference_faults(claims, cards, ["trace", "loss", "acc"], "zoflat.yaml")
    assert any("smoothing 0.01, which toy does not run" in fault for fault in faults)
    assert any("got 'accuracy' (did you mean `acuracy`?)" in fault for fault in faults)
    cards["toy"]["axes"]["smoothing"].append(0.01)
    cards["accuracy"] = {"methods": ["gd", "zo"], "axes": {"data": None, "model": None}}
    assert reference_faults(claims, cards, ["trace", "loss", "acc"]) == []


def test_a_claim_that_does_not_say_which_setting_it_means_is_refused():
    claims = json.loads(json.dumps(CLAIMS))  # without its anchors
    del claims["c1"]["checks"]["ratio_gd"]["values"]["zo"]["where"]
    claims["c5"]["checks"]["gap"]["values"]["gd"]["where"]["modle"] = "svm"
    with pytest.raises(ConfigError) as caught:
        judge({"paper": "zoflat", "claims": claims}, frames(toy(), accuracy()), scale="study")
    one, two = sorted(caught.value.faults)
    assert "claims.c1.checks.ratio_gd.values.zo selects several records for one seed" in one
    assert "`smoothing` (0.1, 0.05, 0.01)" in one or "`smoothing` (0.01" in one
    assert "names the axis `modle`, which accuracy does not have (did you mean `model`?)" in two
