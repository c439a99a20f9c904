"""What holds for every kind: seeds have no names, draws do not see each other, signs and scales carry over."""

import math
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descent.claims.estimate import kinds  # noqa: F401
from descent.claims.estimate.audits import Exact
from descent.claims.estimate.base import DATA, KINDS, MISSING, STATUS, Data, Numbers, estimate
from descent.claims.estimate.counting import Bench, Median, Quantile, Share, Sign
from descent.claims.estimate.means import Jackknife, T, Tolerance
from descent.claims.estimate.rank import KS, Wilcoxon

SEEDS = [
    T(), T(scale="log"), T(alpha=0.05), Tolerance(), Jackknife(), Median(), Median(diverged="high"),
    Quantile(quantile=0.9), Bench(), Share(), Share(above=0.2), Share(below=1, censored=True), Sign(), Wilcoxon(), Exact(),
]  # fmt: skip
CENTRES = [T(), Tolerance(quantile=0.5), Median(), Wilcoxon()]
ids = str
FEW_EXAMPLES = settings(max_examples=10, deadline=None)  # of every kind


WIDTH = st.integers(1, 24)
STRANGE = [0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 1e-17, -1e-300, 1e300, -1.7e308, math.inf, -math.inf, math.nan, 1 + 2**-52]


@st.composite
def numbers(draw, width=WIDTH):
    """Anything that records may hold: any status, infinities, ties, several draws."""
    d, n, rng = draw(st.integers(1, 3)), draw(width), np.random.default_rng(draw(st.integers(0, 10**6)))
    law = draw(st.sampled_from(["plain", "ties", "anything"]))
    values = {
        "plain": rng.normal,
        "ties": lambda size: rng.integers(-1, 3, size) * 1.0,
        "anything": lambda size: rng.choice(STRANGE, size),
    }[law](size=(d, n))
    status = rng.choice(5, (d, n), p=[0.92, 0.02, 0.02, 0.02, 0.02]) * draw(st.booleans())
    status = np.where(np.isnan(values) & (status == 0), 3, status).astype(np.uint8)
    values = np.where(np.isin(status, (MISSING, 3)), np.nan, values)
    return Numbers(values, status, n + draw(st.integers(0, 2)))


@pytest.mark.parametrize("options", SEEDS, ids=ids)
@FEW_EXAMPLES
@given(numbers())
def test_whatever_is_recorded_gives_an_estimate_or_a_sentence(options, found):
    if options.kind == "jackknife":  # the first column is of all seeds
        found = replace(found, planned=max(found.planned - 1, 1))
    got = estimate(options, found)
    for d in range(found.draws):
        if got.decidable[d]:
            assert got.why_not(d) == "" and got.low[d] <= got.high[d]
            assert not np.isnan(got.low[d]) and not np.isnan(got.high[d])
            assert not got.counts["missing"][d] and not (got.value[d] < got.low[d]) and not (got.value[d] > got.high[d])
        else:
            assert got.why_not(d) and "{" not in got.why_not(d)
        if got.has_p:
            p = [got.p(0.5, "above")[d], got.p(0.5, "below")[d], got.p((0.2, 0.7), "inside")[d]]
            assert all(np.isnan(v) == (not got.decidable[d]) and (np.isnan(v) or 0 <= v <= 1 + 1e-12) for v in p)
    everyone = found.draws * found.planned
    assert sum(count.sum() for count in got.counts.values()) == everyone or found.values.shape[1] == 1


@pytest.mark.parametrize("options", SEEDS, ids=ids)
@FEW_EXAMPLES
@given(numbers(), st.randoms(use_true_random=False))
def test_how_seeds_are_called_changes_no_byte(options, found, random):
    first = 1 if options.kind == "jackknife" else 0
    order = list(range(first, found.values.shape[1]))
    random.shuffle(order)
    order = [*range(first), *order]
    again = Numbers(found.values[:, order], found.status[:, order], found.planned)
    one, two = estimate(options, found), estimate(options, again)
    for name in ("value", "low", "high", "n", "reason"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    if one.has_p:
        assert one.p(0.3, "above").tobytes() == two.p(0.3, "above").tobytes()


@pytest.mark.parametrize("options", SEEDS, ids=ids)
@FEW_EXAMPLES
@given(numbers())
def test_a_draw_does_not_see_the_others(options, found):
    together = estimate(options, found)
    for d in range(found.draws):
        alone = estimate(options, Numbers(found.values[d : d + 1], found.status[d : d + 1], found.planned))
        for name in ("value", "low", "high", "reason"):
            assert getattr(together, name)[d : d + 1].tobytes() == getattr(alone, name).tobytes()


FEW = st.lists(st.floats(-100, 100).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=6, max_size=20, unique=True)


@pytest.mark.parametrize("options", CENTRES, ids=ids)
@FEW_EXAMPLES
@given(FEW, st.floats(-50, 50), st.floats(0.01, 100))
def test_signs_and_scales_carry_over(options, values, shift, scale):
    values = np.array(values)
    one = estimate(options, Numbers.ok(values))
    moved = estimate(options, Numbers.ok(scale * values + shift))
    turned = estimate(options, Numbers.ok(-values))
    slack = 1e-8 * scale * (1 + np.abs(values).max()) + 1e-8 * abs(shift)
    if one.decidable[0] and moved.decidable[0]:
        assert moved.low[0] == pytest.approx(scale * one.low[0] + shift, abs=slack)
        assert moved.high[0] == pytest.approx(scale * one.high[0] + shift, abs=slack)
    if one.decidable[0] and turned.decidable[0]:
        assert (turned.low[0], turned.high[0]) == pytest.approx((-one.high[0], -one.low[0]), abs=slack)
        assert turned.p(-0.37, "below")[0] == pytest.approx(one.p(0.37, "above")[0], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("options", [o for o in SEEDS if o.kind not in ("exact", "bench")], ids=ids)
@FEW_EXAMPLES
@given(numbers(st.integers(6, 16)), st.floats(-2, 2), st.floats(0, 1))
def test_a_harder_criterion_is_never_easier(options, found, criterion, more):
    got = estimate(options, found)
    here, harder = got.p(criterion, "above"), got.p(criterion + more, "above")
    assert not (harder < here - 1e-9).any()
    here, harder = got.p(criterion, "below"), got.p(criterion - more, "below")
    assert not (harder < here - 1e-9).any()
    wide, narrow = got.p((-3, 3), "inside"), got.p((-3 + more, 3 - more), "inside")
    assert not (narrow < wide - 1e-9).any()


@pytest.mark.parametrize("options", [T(), Median(), Wilcoxon(), Tolerance(), Share(above=0.2), Sign()], ids=ids)
@FEW_EXAMPLES
@given(numbers(st.integers(6, 16)), st.integers(0, 15))
def test_losing_a_seed_never_decides_anything(options, found, at):
    status, values = found.status.copy(), found.values.copy()
    at %= values.shape[1]
    status[:, at], values[:, at] = MISSING, np.nan
    assert not estimate(options, Numbers(values, status, found.planned)).decidable.any()
    fewer = Numbers(np.delete(found.values, at, 1), np.delete(found.status, at, 1), found.planned)
    assert not estimate(options, fewer).decidable.any()


@pytest.mark.parametrize("options", SEEDS, ids=ids)
@FEW_EXAMPLES
@given(numbers(), st.floats(0, 3))
def test_no_interval_is_narrower_than_the_resolution(options, found, half):
    got, plain = estimate(options, found, resolution=half), estimate(options, found)
    for d in range(found.draws):
        if got.decidable[d] and np.isfinite(got.value[d]):
            assert got.low[d] <= got.value[d] - half and got.high[d] >= got.value[d] + half
        if plain.decidable[d]:
            assert got.decidable[d] and got.low[d] <= plain.low[d] and got.high[d] >= plain.high[d]


def test_two_samples_have_no_names_either():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12)), rng.normal(size=(2, 9))
    one, two = (
        estimate(KS(), Numbers.ok(a), Numbers.ok(b)),
        estimate(KS(), Numbers.ok(b[:, ::-1]), Numbers.ok(a[:, ::-1])),
    )
    assert np.array_equal(one.value, two.value) and np.array_equal(one.low, two.low)


# -- the registry -----------------------------------------------------------------------------------------------------


def test_every_kind_of_data_that_a_claim_may_declare_is_described():
    assert get_args(Data) == tuple(DATA)


def test_every_kind_says_what_it_is():
    assert set(KINDS) == {
        "t", "jackknife", "tolerance", "median", "quantile", "bench", "share", "sign", "wilcoxon", "ks", "audit", "exact", "rates",
    }  # fmt: skip
    for name, kind in KINDS.items():
        needed = {"quantile": 0.9} if name == "quantile" else {}
        options = kind.options(**needed)
        assert options.kind == kind.name == name and kind.doc.endswith(".") and kind.words(options)
        assert set(kind.data) <= set(DATA)
        assert kind.options.model_fields.keys() >= {"kind"} and all(
            field.description for key, field in kind.options.model_fields.items() if key != "kind"
        )


def test_a_kind_says_how_many_seeds_it_needs_for_such_data():
    assert (
        KINDS["median"].least_for(Median(), "heavy") == 6 and KINDS["median"].least_for(Median(level=0.9), "heavy") == 5
    )
    assert KINDS["t"].least_for(T(), "binary") is None and KINDS["t"].least_for(T(), "normal") == 5
    assert KINDS["wilcoxon"].least_for(Wilcoxon(), "normal") == 6 and KINDS["bench"].least_for(Bench(), "heavy") == 20


def test_the_audits_formulas_do_not_bring_scipy_into_training():
    code = "import sys, descent.privacy.audit; print(*sorted(m for m in ('scipy', 'pandas', 'pydantic') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "" and len(STATUS) == 5
