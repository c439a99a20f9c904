"""Judging: the claims of one paper against its records, or against a world that draws them.

Every estimate is made once, its checks decided, p-values corrected in their families, then the rules are asked. The room
of a paper never sees this: it cannot grade itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from descent.claims.decide.verdict import Judged, judge_claim
from descent.claims.operands.planned import Planned
from descent.claims.operands.recorded import RecordsSource
from descent.claims.operands.tabled import Source
from descent.claims.read.claim import TypedClaim
from descent.claims.read.parse import parse_claims
from descent.claims.results import ClaimResult
from descent.claims.telling import result
from descent.core.errors import ConfigError


def judge(
    slug: str,
    claims: Mapping,
    records: Mapping[str, pd.DataFrame],
    planned: Planned,
    *,
    scale: str,
    where: str | None = None,
) -> list[ClaimResult]:
    """One ClaimResult a claim, in the order of the configuration.

    claims: the YAML mapping, or what `parse_claims` has read. records: experiment -> DataFrame in the form of DESIGN.md,
    "Records". planned: what must be in them, and what is not run and why. where: the configuration's file, for messages.
    Raises ConfigError (all faults) where a claim does not fit the records.
    """
    judged = judge_source(
        claims, RecordsSource(records, planned), scale=scale, where=where or f"config/papers/{slug}.yaml"
    )
    return [result(slug, scale, one) for one in judged]


def judge_source(claims: Mapping, source: Source, *, scale: str, where: str = "config/papers/x.yaml") -> list[Judged]:
    """The claims judged in every draw of a source."""
    if any(not isinstance(claim, TypedClaim) for claim in claims.values()):
        claims = parse_claims(claims, where)
    found: list[Judged] = []
    faults: list[str] = []
    for claim in claims.values():
        try:
            found.append(judge_claim(claim, source, scale, where))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(dict.fromkeys(faults))
    return found
