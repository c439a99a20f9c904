"""DP-SGD and DP-Adam, and Dual-Priv Pruning's mechanism 2 on top of them.

Abadi et al., "Deep Learning with Differential Privacy", arXiv 1607.00133, with the rules of Opacus: a Poisson batch;
every sample's gradient over ALL blocks clipped to norm C; noise N(0, sigma^2 C^2) on the sum, for every coordinate;
divided by the EXPECTED batch B = q N, never by the realised one. An empty batch still adds noise and counts as a step.

Wei et al., arXiv 2506.07077 (Dual-Priv Pruning): of the noisy update only the `keep` share of blocks with the largest
score is applied. `keep=1` is DP-SGD bit for bit. With pruned tokens as the problem's records, this is their method.

Axes: S rows (seeds), b samples, p parameters, M blocks.
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
from descent.papers.dualpriv.blocks import BlockMap, block_map, largest, masked, scores
from descent.papers.dualpriv.problem import Problem, check_records, sample_gradients, together
from descent.papers.dualpriv.sampling import Counts, graph_width, poisson_batches
from descent.papers.dualpriv.settings import SETTINGS
from descent.privacy.ledger import Ledger
from descent.toolbox.capture import captured

PHASES = 10
"""Parts of a run for which it is counted how often each block was kept."""


class State(NamedTuple):
    """Everything in it is computed from noisy sums: it may be released."""

    theta: Tensor  # (S, p)
    first: Tensor  # (S, p) Adam's first moment; (S, 0) for SGD
    second: Tensor  # (S, p) Adam's second moment; (S, 0) for SGD
    step: int  # steps done
    kept: Tensor  # (PHASES, S, M): steps of each phase in which the block was kept


class Noise(NamedTuple):
    """One step's random numbers."""

    index: Tensor  # (S, b) the Poisson batch  # pyright: ignore[reportIncompatibleMethodOverride]: tuple.index is not used
    present: Tensor  # (S, b) 1 for a record, 0 for padding
    counts: Counts | None  # of the block; None: every place counts
    normal: Tensor  # (S, p) standard normals
    chance: Tensor  # (S, M) uniforms for the random choice of blocks; (S, 0) without it


def clip_factors(gradients: Sequence[Tensor], clip_norm: float) -> Tensor:
    """c_i = min(1, C / (|g_i| + 1e-6)), (S, 1, b), the norm over all pieces (S, b, size) jointly.

    0 where that norm is not finite: such a record's influence could not be bounded, so it has none.
    """
    norms = torch.stack([torch.linalg.vector_norm(g, dim=-1) for g in gradients])
    norm = torch.linalg.vector_norm(norms, dim=0)
    return torch.where(norm.isfinite(), (clip_norm / (norm + 1e-6)).clamp(max=1.0), 0.0)[:, None]


def clipped_sum(gradients: Sequence[Tensor], clip_norm: float) -> Tensor:
    """sum_i c_i g_i (S, p) over the records whose gradient is finite. Others are set to 0 in place (0 * inf is not 0)."""
    factors = clip_factors(gradients, clip_norm)
    lost = (factors == 0).transpose(-1, -2)  # (S, b, 1)
    if lost.device.type != "cpu" or lost.any():  # a CPU need not be waited for, and writing all gradients takes time
        gradients = [g.masked_fill_(lost, 0.0) for g in gradients]
    return torch.cat([(factors @ g)[:, 0] for g in gradients], -1)


def batch_sum(
    problem: Problem,
    theta: Tensor,
    index: Tensor,
    present: Tensor,
    clip_norm: float,
    *,
    sizes: Sequence[int] | None = None,
    micro_batch: int | None = None,
) -> Tensor:
    """sum_i c_i g_i (S, p) over the batch index (S, b), a few rows and `micro_batch` samples at a time.

    sizes: (S,), beyond which a row is padding.
    """
    sums = []
    for rows, width in together(problem, sizes or [index.shape[1]] * len(theta)):
        parts = zip(*(z[rows, :width].split(micro_batch or width, 1) for z in (index, present)), strict=True)
        total = 0
        for part, there in parts:
            total = total + clipped_sum(sample_gradients(problem, theta[rows], part, there), clip_norm)
        sums.append(total)
    return torch.cat(sums)


def released(
    total: Tensor, normal: Tensor, chance: Tensor, ledger: Ledger, blocks: BlockMap, keep: float, block_score: str
) -> tuple[Tensor, Tensor]:
    """What leaves the private data: the update (S, p), its dropped blocks 0, and the mask (S, M).

    total: the clipped sum (S, p). normal: standard normals (S, p). chance: (S, M) uniforms for random blocks.
    """
    update = (total + ledger.noise_std * normal) / ledger.batch
    # Post-processing from here on: the batch is not looked at again.
    mask = largest(chance if block_score == "random" else scores(blocks, update, block_score), keep)
    return masked(blocks, update, mask), mask


def dpsgd(
    problem: Problem,
    ledger: Ledger,
    *,
    step_size: float,
    keep: float = 1.0,
    block_score: str = "rms",
    optimiser: str = "sgd",
    micro_batch: int | None = None,
) -> Unseeded[State, Noise, Nothing]:
    """step_size: lr. keep: share of blocks whose update is applied. block_score: rms, l2, or random (the control).

    micro_batch: samples whose activations are held at once; the whole batch by default. Sums of clipped gradients add
    up, so it changes memory and rounding only.

    The rate, the number of steps, the clip norm and the noise are the ledger's. Raises SettingError, also when the
    ledger's noise does not keep its budget or the problem does not hold its records.
    """
    check("dualpriv", SETTINGS, step_size=step_size, keep=keep, block_score=block_score, optimiser=optimiser)
    check("dualpriv", SETTINGS, micro_batch=micro_batch)
    ledger.confirm()
    check_records(problem, ledger)
    device = problem.train.x.device
    layout = problem.layout
    blocks = block_map(layout, device)

    def init(theta: Tensor) -> State:
        moments = torch.zeros_like(theta) if optimiser == "adam" else theta[:, :0]
        return State(theta, moments, moments, 0, theta.new_zeros(PHASES, len(theta), len(layout.blocks)))

    @captured
    def pruned(
        theta: Tensor, index: Tensor, present: Tensor, normal: Tensor, chance: Tensor, sizes: Sequence[int] | None
    ):
        """The noisy update (S, p), the dropped blocks 0, and its mask (S, M)."""
        total = batch_sum(problem, theta, index, present, ledger.clip_norm, sizes=sizes, micro_batch=micro_batch)
        return released(total, normal, chance, ledger, blocks, keep, block_score)

    def step(state: State, noise: Noise) -> tuple[State, Nothing]:
        sizes = noise.counts and noise.counts.at(state.step)
        update, mask = pruned(state.theta, noise.index, noise.present, noise.normal, noise.chance, sizes)
        kept = state.kept.clone()
        kept[min(state.step * PHASES // ledger.steps, PHASES - 1)] += mask
        if optimiser == "sgd":
            return State(state.theta - step_size * update, state.first, state.second, state.step + 1, kept), Nothing()
        return _adam(state, update, step_size, kept), Nothing()

    def drawing(
        streams: Streams, seeds: Sequence[int], block: int, members: np.ndarray | None = None
    ) -> Callable[[int, int], Noise]:
        def drawn(k: int, count: int) -> Noise:
            dtype = problem.train.x.dtype
            batches = poisson_batches(
                streams, seeds, ledger.records, ledger.rate, k, count, block, dtype, members, graph_width(device)
            )
            normal = streams.normal("noise", seeds, (count, layout.size), k, dtype=dtype).transpose(0, 1)
            width = len(layout.blocks) if block_score == "random" else 0
            chance = [streams.numpy("random blocks", seed, k).random((count, width)) for seed in seeds]
            chance = torch.stack([torch.from_numpy(c) for c in chance], 1).to(dtype)
            return Noise(*batches, normal.contiguous(), chance)

        return drawn

    return Unseeded(init, step, None, drawing)


def _adam(state: State, update: Tensor, step_size: float, kept: Tensor, eps: float = 1e-8) -> State:
    """Adam with beta = (0.9, 0.999); a pruned block enters as a zero gradient."""
    step = state.step + 1
    first = state.first.lerp(update, 0.1)
    second = state.second.lerp(update.square(), 0.001)
    corrected = (second / (1 - 0.999**step)).sqrt() + eps
    move = first / (1 - 0.9**step) / corrected
    return State(state.theta - step_size * move, first, second, step, kept)
