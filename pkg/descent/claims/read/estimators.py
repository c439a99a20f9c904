"""The estimators that a claim may name: those of `claims.estimate`, and `identity`."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from descent.claims.estimate import kinds  # noqa: F401  (fills KINDS)
from descent.claims.estimate.base import KINDS, Options


class Identity(Options):
    """An exact quantity that cannot come out otherwise by construction: verified, never a headline."""

    kind: Literal["identity"]


Estimator = Annotated[reduce(or_, [kind.options for kind in KINDS.values()], Identity), Field(discriminator="kind")]
NAMES = (*KINDS, "identity")


def judged_as(options: Options) -> tuple[str, Any]:
    """(kind, options) with which an estimator is computed: an identity is an exact quantity."""
    if options.kind == "identity":
        return "exact", KINDS["exact"].options(kind="exact")
    return options.kind, options


def default() -> Options:
    """The t of a per-seed number."""
    return TypeAdapter(Estimator).validate_python({"kind": "t"})
