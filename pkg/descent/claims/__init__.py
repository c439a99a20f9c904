"""Claims and verdicts. Knows no paper by name.

read: YAML -> typed claims. operands: records -> one number a seed. estimate: numbers -> a value with its interval.
decide: criteria, families, rules, verdict. judge: all of it for one paper; world: the same for drawn records.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "parse_claims": "read.parse",
        "reference_faults": "read.references",
        "TypedClaim": "read.claim",
        "ClaimResult": "results",
        "CheckResult": "results",
        "EstimateResult": "results",
        "checks_frame": "results",
        "verdicts_frame": "results",
        "Planned": "operands.planned",
        "Cell": "operands.planned",
        "Lost": "operands.planned",
        "MetricInfo": "operands.planned",
    },
)
