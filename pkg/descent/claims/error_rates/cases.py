"""What is simulated: every estimator in use on every kind of data that it may meet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import optimize, stats

from descent.claims.error_rates.laws import (
    BINARY,
    EXPONENTIAL,
    LOGNORMAL,
    NOISE,
    NORMAL,
    RECORDS,
    RIGHT,
    SIGMA,
    Draw,
    apart,
    at_random,
    beyond,
    clusters,
    costs,
    lost,
    outcomes,
    pair,
    records_of_seeds,
    slopes,
    the_worst,
)  # fmt: skip
from descent.claims.error_rates.simulated import Case
from descent.claims.table import CENSORED, MISSING

CLOSE = 0.04  # 25 times the draws: 10 seeds cover hardly more than 90 %
CLUSTERS = "several numbers a seed, averaged"
LAWS: dict[str, tuple[str, Draw, Any]] = {
    "normal": ("normal", NORMAL, stats.norm()),
    "skewed": ("exponential", EXPONENTIAL, stats.expon()),
    "heavy": (f"lognormal({SIGMA})", LOGNORMAL, stats.lognorm(SIGMA)),
    "binary": (f"0 or 1, p = {RIGHT}", BINARY, stats.bernoulli(RIGHT)),
    "clustered": (CLUSTERS, clusters, stats.norm(0, math.sqrt(1 + NOISE**2 / 4))),
}
ALONG = {"across": {"k": [1, 2, 4, 8]}}


def pseudo_median(law: Any) -> float:
    """The median of the mean of two independent draws."""
    if not law.support()[0] >= 0:
        return float(law.median())
    if law.support()[1] == 1:
        return 1.0  # two of three pairs of 0.9 are both 1
    x = law.ppf((np.arange(4000) + 0.5) / 4000)
    middle = optimize.brentq(lambda m: law.cdf(np.maximum(2 * m - x, 0)).mean() - 0.5, 1e-3, 50)
    return float(middle)  # pyright: ignore[reportArgumentType]: a tuple only with full_output


def distance(law: Any) -> float:
    """Largest distance of the law and the same law times 1.5 plus 0.5, on a fine grid of quantiles."""
    x = law.ppf((np.arange(200_000) + 0.5) / 200_000)
    return float(np.abs(law.cdf(x) - law.cdf((x - 0.5) / 1.5)).max())


def _means() -> Iterator[Case]:
    for data, (word, draw, law) in LAWS.items():
        yield Case({"kind": "t"}, word, draw, float(law.mean()), data, slow=CLOSE if data == "skewed" else 1)
    yield Case(
        {"kind": "t"}, "a slope a seed, random slopes", slopes, 0.0, "clustered", "slope(log2(k), v)", extra=ALONG
    )
    yield Case({"kind": "t"}, "records as replicates, an effect a seed", records_of_seeds, 0.0, "clustered",
               extra={"read": "all"}, records=RECORDS, note=f"mean over records, {RECORDS} a seed, t")  # fmt: skip
    yield Case({"kind": "t"}, f"lognormal({SIGMA}) ratios", LOGNORMAL, 1.0, "normal", scale="log")
    yield Case({"kind": "t"}, "exponential ratios", EXPONENTIAL, math.exp(-np.euler_gamma), "skewed", scale="log")
    for data in ("normal", "skewed", "heavy"):
        word, draw, law = LAWS[data]
        yield Case({"kind": "t", "alpha": 0.05}, word, draw, float(law.mean()), data,
                   criterion=lambda truth: {"inside": [truth - (2 if truth == 0 else 2 * truth), truth]},
                   note="two one-sided t tests at 5 %, truth on the margin")  # fmt: skip
    yield Case({"kind": "t"}, "normal", NORMAL, 0.0, "normal", p=0.05, note="one-sided t test at 5 %, p decides")
    ratio: dict[str, Any] = {"value": "a / b", "scale": "log", "note": "ratio of pooled means, jackknife"}
    yield Case(
        {"kind": "jackknife"}, "normal, sd a fifth", pair(lambda g, s: g.normal(1, 0.2, s)), 1.0, "normal", **ratio
    )
    yield Case({"kind": "jackknife"}, "exponential", pair(lambda g, s: g.exponential(size=s)), 1.0, "skewed", **ratio)
    yield Case(
        {"kind": "jackknife"}, f"lognormal({SIGMA})", pair(lambda g, s: g.lognormal(0, SIGMA, s)), 1.0, "heavy", **ratio
    )
    for data in ("skewed", "heavy", "binary"):
        word, draw, law = LAWS[data]
        yield Case({"kind": "jackknife"}, word, draw, float(law.mean()), data, note="pooled mean, jackknife",
                   slow=CLOSE if data == "skewed" else 1)  # fmt: skip
    yield Case({"kind": "jackknife"}, "random slopes", slopes, 0.0, "clustered", "slope(log2(k), v)", extra=ALONG,
               note="slope of the pooled mean, jackknife")  # fmt: skip
    yield Case({"kind": "jackknife"}, "0 or 1 along k, an effect a seed", outcomes, 3.0, "clustered", "half(k, v)",
               extra={"across": {"k": [1, 2, 3, 4, 5]}}, note="50 % point of pooled seeds, jackknife", slow=10)  # fmt: skip
    for data, (word, draw, law) in LAWS.items():
        truth = (
            float(law.mean() + stats.norm.ppf(0.8) * law.std())
            if data in ("normal", "clustered")
            else float(law.ppf(0.8))
        )
        yield Case({"kind": "tolerance"}, word, draw, truth, data, slow=2)


def _orders() -> Iterator[Case]:
    for share in (0.5, 0.9):
        kind = {"kind": "median"} if share == 0.5 else {"kind": "quantile", "quantile": share}
        for data, (word, draw, law) in LAWS.items():
            yield Case(kind, word, draw, float(law.ppf(share)), data)
    yield Case({"kind": "median"}, "exponential, a third never reached", lost(EXPONENTIAL, beyond(math.log(3)), CENSORED),
               math.log(2), "skewed")  # fmt: skip
    for data, (word, draw, law) in LAWS.items():
        truth = RIGHT if data == "binary" else float(law.sf(0.5))
        yield Case({"kind": "share"}, f"{word}, above 0.5", draw, truth, data, "v > 0.5")
    for data, (word, draw, law) in LAWS.items():
        middle = 0.5 if data == "binary" else float(law.median())
        truth = RIGHT if data == "binary" else 0.5
        yield Case({"kind": "sign"}, f"{word} less {middle:.3g}", draw, truth, data, f"v - {middle!r}")
    for data, (word, draw, law) in LAWS.items():
        yield Case({"kind": "wilcoxon"}, word, draw, pseudo_median(law), data, slow=2)
    yield Case({"kind": "wilcoxon"}, "normal", NORMAL, 0.0, "normal", p=0.05, slow=2,
               note="signed-rank test at 5 %, p decides")  # fmt: skip
    for data, (word, draw, law) in LAWS.items():
        truth = 0.2 if data == "binary" else distance(law)
        yield Case({"kind": "ks"}, f"{word}, and shifted", apart(draw, data), truth, data)
    for data in ("normal", "skewed", "heavy"):
        word, draw, law = LAWS[data]
        yield Case({"kind": "bench"}, f"costs apart by exp({word})", costs(draw), math.exp(float(law.median())), data, "a / b",
                   scale="log", extra={"read": "all"}, sizes=(20, 40))  # fmt: skip


def cases() -> Iterator[Case]:
    """Every estimator in use on every kind of data that it may meet."""
    yield from _means()
    yield from _orders()


def spoilt_cases() -> Iterator[Case]:
    """Seeds that are missing or that ended badly."""
    for kind, draw, truth, data, value, low in (
        ({"kind": "t"}, NORMAL, 0.0, "normal", None, -0.84),
        ({"kind": "median"}, NORMAL, 0.0, "normal", None, -0.84),
        ({"kind": "share"}, BINARY, RIGHT, "binary", "v > 0.5", 0.5),
    ):
        yield Case(kind, "one seed in twenty missing at random", lost(draw, at_random, MISSING), truth, data, value)
        yield Case(kind, "half of the worst fifth missing", lost(draw, the_worst(low), MISSING), truth, data, value)
