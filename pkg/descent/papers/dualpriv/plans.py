"""What each method of the study consists of: optimiser, tokens, blocks. The controls change one part of Dual-Priv each."""

from __future__ import annotations

from typing import NamedTuple


class Plan(NamedTuple):
    """One method.

    order: first (DP-SGD), zeroth (DPZero) or none (no training). tokens: all, cls (mechanism 1) or random. fused:
    whether the tokens not kept are fused. blocks: what mechanism 2 ranks by (rms, l2 or random); None applies every
    block's update. optimiser: sgd or adam.
    """

    order: str
    tokens: str = "all"
    fused: bool = True
    blocks: str | None = None
    optimiser: str = "sgd"


_DUAL = Plan("first", "cls", blocks="rms")
PLANS = {
    "dpsgd": Plan("first"),
    "dual": _DUAL,
    "dpzo": Plan("zeroth"),
    "dpzo_m1": Plan("zeroth", "cls"),
    "m1": _DUAL._replace(blocks=None),
    "m2": _DUAL._replace(tokens="all"),
    "no_fusion": _DUAL._replace(fused=False),
    "random_tokens": _DUAL._replace(tokens="random"),
    "random_blocks": _DUAL._replace(blocks="random"),
    "l2_blocks": _DUAL._replace(blocks="l2"),
    "low_rank": _DUAL._replace(blocks=None),  # its rank is a setting: r = 3 has about the update size of keep = 0.8
    "dpadam": Plan("first", optimiser="adam"),
    "dual_adam": _DUAL._replace(optimiser="adam"),
    "zero_shot": Plan("none"),
}
