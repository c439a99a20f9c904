"""DPZero: private fine-tuning from loss differences, forward passes only.

Zhang et al., "DPZero: Private Fine-Tuning of Language Models without Backpropagation", arXiv 2310.09639. Along a public
random direction z every sample gives one number, (l(theta + mu z) - l(theta - mu z)) / (2 mu), clipped to
[-C, C]; their sum plus ONE scalar of noise moves theta along z.

Departure from the official code: it adds noise of std 2 sigma C / B (replace-one sensitivity) while it shuffles and
accounts as Poisson. Here batches are Poisson and the sensitivity is C (a record added or removed): consistent.

Axes: S rows (seeds), b samples, p parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.method import Nothing, Unseeded
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.dualpriv.problem import Problem, check_records, sample_losses
from descent.papers.dualpriv.sampling import Counts, graph_width, poisson_batches
from descent.papers.dualpriv.settings import SETTINGS
from descent.privacy.ledger import Ledger
from descent.toolbox.capture import captured


class State(NamedTuple):
    theta: Tensor  # (S, p)
    step: int  # steps done


class Noise(NamedTuple):
    """One step's random numbers; `direction` is public."""

    index: Tensor  # (S, b) the Poisson batch  # pyright: ignore[reportIncompatibleMethodOverride]: tuple.index is not used
    present: Tensor  # (S, b) 1 for a record, 0 for padding
    counts: Counts | None  # of the block; None: every place counts
    direction: Tensor  # (S, p) the paper's z
    normal: Tensor  # (S,) standard normals


def private_slope(difference: Tensor, present: Tensor, normal: Tensor, ledger: Ledger) -> Tensor:
    """s (S,) = (sum_i clip(difference_i) + sigma C N(0, 1)) / B; difference, present: (S, b); normal: (S,).

    The ledger's clip norm bounds each sample's slope here. A slope that is not finite counts as 0.
    """
    clipped = difference.clamp(-ledger.clip_norm, ledger.clip_norm)
    clipped = torch.where(difference.isfinite(), clipped, 0.0) * present
    return (clipped.sum(-1) + ledger.noise_std * normal) / ledger.batch


def dpzero(
    problem: Problem, ledger: Ledger, *, step_size: float, probe: float = 1e-3
) -> Unseeded[State, Noise, Nothing]:
    """step_size: lr along z. probe: mu, the length of the two-sided difference. Raises SettingError."""
    check("dualpriv", SETTINGS, step_size=step_size, probe=probe)
    ledger.confirm()
    check_records(problem, ledger)
    multiple = graph_width(problem.train.x.device)

    @captured
    def moved(
        theta: Tensor, index: Tensor, present: Tensor, direction: Tensor, normal: Tensor, sizes: Sequence[int] | None
    ) -> Tensor:
        # theta - mu z is formed when theta + mu z is gone: two probes at once would double the memory.
        above = sample_losses(problem, theta + probe * direction, index, sizes)
        below = sample_losses(problem, theta - probe * direction, index, sizes)
        slope = private_slope((above - below) / (2 * probe), present, normal, ledger)
        return theta - step_size * slope[:, None] * direction

    def step(state: State, noise: Noise) -> tuple[State, Nothing]:
        sizes = noise.counts and noise.counts.at(state.step)
        theta = moved(state.theta, noise.index, noise.present, noise.direction, noise.normal, sizes)
        return State(theta, state.step + 1), Nothing()

    def drawing(
        streams: Streams, seeds: Sequence[int], block: int, members: np.ndarray | None = None
    ) -> Callable[[int, int], Noise]:
        def drawn(k: int, count: int) -> Noise:
            dtype = problem.train.x.dtype
            batches = poisson_batches(
                streams, seeds, ledger.records, ledger.rate, k, count, block, dtype, members, multiple
            )
            shape = (count, problem.layout.size)
            direction = streams.normal("direction", seeds, shape, k, dtype=dtype).transpose(0, 1).contiguous()
            normal = streams.normal("scalar noise", seeds, (count,), k).T.to(dtype)
            return Noise(*batches, direction, normal.contiguous())

        return drawn

    return Unseeded(lambda theta: State(theta, 0), step, None, drawing)
