"""Claims and verdicts: selecting records, estimating, deciding, judging. Knows no paper by name.

`parse_claims` types the YAML of a paper's claims (no pandas, no scipy), `judge.judge` gives the verdicts. `audit` holds the
privacy bounds that a training job may call. The parts, in the order in which a check passes through them:
select (records -> numbers) -> evidence (statistic of each unit) -> estimators -> families -> predicates -> rules.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Claim": "model",
        "parse_claims": "model",
        "reference_faults": "references",
        "ClaimResult": "results",
        "CheckResult": "results",
        "checks_frame": "results",
        "verdicts_frame": "results",
        "cell": "select",
        "Records": "select",
    },
)
