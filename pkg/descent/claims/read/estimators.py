"""The estimators that a claim may name: those of `claims.estimate`, and what the judge adds to them."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from descent.claims.estimate import kinds, means, rates  # noqa: F401  (fill KINDS)
from descent.claims.estimate.base import KINDS, Kind, Options


class Identity(Options):
    """An exact quantity that cannot come out otherwise by construction: verified, never a headline."""

    kind: Literal["identity"]


class Pooled(means.Jackknife):
    """A functional of pooled seeds: each operand is aggregated over the seeds, then the arithmetic is done."""

    pool: Literal["mean", "median", "sum", "rms"] = Field(
        default="mean", description="How an operand is aggregated over its seeds."
    )


_MODELS = [Pooled if name == "jackknife" else kind.options for name, kind in KINDS.items()]
Estimator = Annotated[reduce(or_, _MODELS, Identity), Field(discriminator="kind")]
NAMES = (*KINDS, "identity")
MODELS: dict[str, type[Options]] = {**dict(zip(KINDS, _MODELS, strict=True)), "identity": Identity}


def judged_as(options: Options) -> tuple[Kind, Options]:
    """The kind and the options with which an estimator is computed: an identity is an exact quantity."""
    if options.kind == "identity":
        return KINDS["exact"], KINDS["exact"].options(kind="exact")
    return KINDS[options.kind], options


def default() -> Options:
    """The t of a per-seed number."""
    return TypeAdapter(Estimator).validate_python({"kind": "t"})
