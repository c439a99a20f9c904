"""What each private method of the study consists of, from the settings of its card. The controls change one part of Dual-Priv each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeVar

from descent.core.job import Variant
from descent.core.method import Unseeded
from descent.papers.dualpriv import first_order, zeroth_order
from descent.papers.dualpriv.problem import Problem
from descent.privacy.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """What every method has.

    clip_norm: of a record's gradient, or of its slope. tokens: all; or the `dominant` ones kept, chosen by cls (mechanism 1)
    or at random, and the others fused into `contextual` ones, with noise of the reading `fuse_noise`.
    """

    clip_norm: float
    step_size: float
    tokens: str = "all"
    dominant: int = 0
    contextual: int = 0
    fuse_noise: str = "none"


@dataclass(frozen=True, kw_only=True)
class FirstOrder(_Recipe):
    """DP-SGD. blocks: what mechanism 2 ranks them by (rms, l2 or random); None applies every block's update (keep = 1)."""

    micro_batch: int | None
    keep: float = 1.0
    blocks: str | None = None
    optimiser: str = "sgd"

    def on(self, problem: Problem, ledger: Ledger) -> Unseeded:
        """The method on a problem."""
        return first_order.dpsgd(
            problem, ledger, step_size=self.step_size, keep=self.keep, block_score=self.blocks or "rms",
            optimiser=self.optimiser, micro_batch=self.micro_batch,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ZerothOrder(_Recipe):
    """DPZero."""

    probe: float

    def on(self, problem: Problem, ledger: Ledger) -> Unseeded:
        """The method on a problem."""
        return zeroth_order.dpzero(problem, ledger, step_size=self.step_size, probe=self.probe)


Recipe = FirstOrder | ZerothOrder


def dpsgd(*, clip_norm: float, micro_batch: int | None, step_size: float) -> FirstOrder:
    """Neither mechanism."""
    return FirstOrder(clip_norm=clip_norm, micro_batch=micro_batch, step_size=step_size)


def m1(
    *, clip_norm: float, micro_batch: int | None, dominant: int, contextual: int, fuse_noise: str, step_size: float
) -> FirstOrder:
    """Mechanism 1 alone."""
    return FirstOrder(
        clip_norm=clip_norm, micro_batch=micro_batch, step_size=step_size,
        tokens="cls", dominant=dominant, contextual=contextual, fuse_noise=fuse_noise,
    )  # fmt: skip


def m2(*, clip_norm: float, micro_batch: int | None, keep: float, step_size: float) -> FirstOrder:
    """Mechanism 2 alone."""
    return FirstOrder(clip_norm=clip_norm, micro_batch=micro_batch, step_size=step_size, keep=keep, blocks="rms")


def dual(
    *, clip_norm: float, micro_batch: int | None, dominant: int, contextual: int, fuse_noise: str, keep: float,
    step_size: float,
) -> FirstOrder:  # fmt: skip
    """Dual-Priv: both mechanisms."""
    return FirstOrder(
        clip_norm=clip_norm, micro_batch=micro_batch, step_size=step_size, keep=keep, blocks="rms",
        tokens="cls", dominant=dominant, contextual=contextual, fuse_noise=fuse_noise,
    )  # fmt: skip


def dpzo(*, slope_clip: float, probe: float, step_size: float) -> ZerothOrder:
    """DPZero on all tokens."""
    return ZerothOrder(clip_norm=slope_clip, probe=probe, step_size=step_size)


def dpzo_m1(
    *, slope_clip: float, probe: float, dominant: int, contextual: int, fuse_noise: str, step_size: float
) -> ZerothOrder:
    """DPZero on the tokens of mechanism 1."""
    return ZerothOrder(
        clip_norm=slope_clip, probe=probe, step_size=step_size,
        tokens="cls", dominant=dominant, contextual=contextual, fuse_noise=fuse_noise,
    )  # fmt: skip


_Built = TypeVar("_Built", FirstOrder, ZerothOrder)


def _but(build: Callable[..., _Built], **part: Any) -> Callable[..., _Built]:
    """The same from the same settings, one part changed."""

    @wraps(build)
    def changed(**settings: Any) -> _Built:
        return replace(build(**settings), **part)

    return changed


random_blocks = _but(dual, blocks="random")
l2_blocks = _but(dual, blocks="l2")
random_tokens = _but(dual, tokens="random")
no_fusion = _but(dual, contextual=0)
dual_adam = _but(dual, optimiser="adam")
dpadam = _but(dpsgd, optimiser="adam")

METHODS: Mapping[str, Callable[..., Recipe]] = {
    "dpsgd": dpsgd,
    "dual": dual,
    "dpzo": dpzo,
    "dpzo_m1": dpzo_m1,
    "m1": m1,
    "m2": m2,
    "no_fusion": no_fusion,
    "random_tokens": random_tokens,
    "random_blocks": random_blocks,
    "l2_blocks": l2_blocks,
    "low_rank": m1,  # its rank is a setting: r = 3 has about the update size of keep = 0.8
    "dpadam": dpadam,
    "dual_adam": dual_adam,
}
"""Those that train; `zero_shot` does not."""


def recipe_of(variant: Variant) -> Recipe:
    """The variant's method with the variant's settings."""
    return METHODS[variant.method](**variant.own)
