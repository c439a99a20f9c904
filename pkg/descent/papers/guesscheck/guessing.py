"""Guess & Check as the paper has it: draw weights from the prior, keep those that fit.

Alexander et al., arXiv 2506.03931, and the official code: a fixed number of guesses, accepted where the mean squared
training residual is below the tolerance; the value is the mean test loss of the accepted ones. Where none is accepted
the official code returns 1; here the value is undefined (NaN) and the count says 0.

Axes: S seeds, P weights, M prefixes, F last layers tried on each (F = 1 is the paper's sampler), candidates last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.posterior import Posterior, ratio_error
from descent.papers.guesscheck.problem import Task
from descent.papers.guesscheck.settings import SETTINGS
from descent.toolbox.counter import normals, subkey

PREFIX, LAST = range(2)  # labels of the keys of numbers drawn on the device


class State(NamedTuple):
    """Sums over the guesses so far; a_p accepted guesses of prefix p, b_p their test losses' sum."""

    guesses: Tensor  # (S,)
    hits: Tensor  # (S,) sum of a_p
    error: Tensor  # (S,) sum of b_p
    hits_square: Tensor  # (S,) sum of a_p^2
    cross: Tensor  # (S,) sum of a_p b_p
    error_square: Tensor  # (S,) sum of b_p^2
    prior: Tensor  # (S,) sum of the test losses of all guesses
    prior_square: Tensor  # (S,) sum over prefixes of the squared sum of their test losses
    product: Tensor  # (S, m, m') sum of the accepted products


class Info(NamedTuple):
    accepted: Tensor  # (S,) guesses accepted in this batch


class Noise(NamedTuple):
    prefix: Tensor  # (S, P - k m', M) the weights of all layers but the last; drawn on the device: keys (S,)
    last: Tensor  # (S, k m', M, F)


def guessing(
    task: Task, network: Network, streams: Streams, seeds: Sequence[int], *, tolerance: float, batch: int = 2048,
    fan_out: int = 1, noise: str = "host", dtype: torch.dtype = torch.float32,
) -> Method:  # fmt: skip
    """One step: `batch` guesses of every seed (rounded down to whole prefixes).

    task: of S tasks, on the device and of the dtype that guesses shall have. noise: host, or device for numbers from a
    counter there (another stream of the same law). Raises SettingError for a setting outside its limits.
    """
    check("guessing", SETTINGS, tolerance=tolerance, batch=batch, fan_out=fan_out, noise=noise)
    inner, outer = sum(network.sizes[:-1]), network.sizes[-1]
    prefixes = max(1, batch // fan_out)
    # One product gives both losses' residuals.
    rows, targets = torch.cat([task.seen, task.unseen], 1), torch.cat([task.labels, task.answers], 1)[..., None]
    measurements = task.seen.shape[1]

    def init() -> State:
        zero = torch.zeros(len(seeds), dtype=torch.float64).to(task.labels.device)
        product = zero[:, None, None].expand(-1, network.rows, network.columns)
        return State(zero, zero, zero, zero, zero, zero, zero, zero, product.clone())

    def draw(k: int, count: int) -> Noise:
        if noise == "device":
            keys = [[streams.entropy("guesses", seed, k, i) % 2**63 for seed in seeds] for i in range(count)]
            return Noise(torch.tensor(keys, dtype=torch.int64), torch.zeros(count, 1))
        prefix = torch.empty(count, len(seeds), inner, prefixes, dtype=dtype)
        last = torch.empty(count, len(seeds), outer, prefixes, fan_out, dtype=dtype)
        for s, seed in enumerate(seeds):
            generator = streams.torch("guesses", seed, k)
            for i in range(count):
                torch.randn((inner, prefixes), generator=generator, out=prefix[i, s])
                torch.randn((outer, prefixes, fan_out), generator=generator, out=last[i, s])
        return Noise(prefix, last)

    def made(noise_: Noise) -> Noise:
        """The weights' normals; from keys where those were handed over."""
        if noise == "host":
            return noise_
        shapes = (inner, prefixes), (outer, prefixes, fan_out)
        drawn = [
            normals(subkey(noise_.prefix, label), math.prod(shape), dtype).unflatten(1, shape)
            for label, shape in zip((PREFIX, LAST), shapes, strict=True)
        ]
        return Noise(*drawn)

    def step(state: State, noise_: Noise) -> tuple[State, Info]:
        prefix, last = made(noise_)
        products = network.output(
            network.hidden(prefix.split(network.sizes[:-1], 1).__getitem__)[..., None], last
        ).flatten(3)
        residual = torch.baddbmm(targets, rows, products.flatten(1, 2), beta=-1).square_()
        accepted = (residual[:, :measurements].mean(1) < tolerance).to(dtype)
        loss = residual[:, measurements:].mean(1)
        # Of every prefix: a_p, b_p, and the test losses of all its guesses.
        each = torch.stack([accepted, accepted * loss, loss], 1).double()
        each = each.unflatten(2, (prefixes, fan_out)).sum(-1) if fan_out > 1 else each
        (hits, error, every), square = each.sum(2).unbind(1), each.square().sum(2)
        cross = (each[:, 0] * each[:, 1]).sum(1)
        product = torch.bmm(products.flatten(1, 2), accepted[..., None]).double().view_as(state.product)
        sums = (torch.full_like(hits, prefixes * fan_out), hits, error, square[:, 0], cross, square[:, 1], every,
                square[:, 2], product)  # fmt: skip
        return State(*(old + new for old, new in zip(state, sums, strict=True))), Info(hits)

    return Method(init, step, draw)


def posterior(state: State) -> Posterior:
    """The estimates that a state stands for."""
    hits = state.hits
    error = torch.where(hits > 0, state.error / hits, torch.nan)
    return Posterior(
        mean=torch.where(hits[:, None, None] > 0, state.product / hits[:, None, None], torch.nan),
        error=error,
        standard_error=ratio_error(hits, state.hits_square, state.cross, state.error_square, error),
        accepted=hits,
        log10_acceptance=(hits / state.guesses).log10(),
        effective_size=torch.where(hits > 0, hits.square() / state.hits_square, 0.0),
        prior_error=state.prior / state.guesses,
    )


def prior(state: State, *, prefixes: int) -> tuple[Tensor, Tensor]:
    """Mean test loss of all guesses (S,), and its standard error by prefix. prefixes: tried so far."""
    mean = state.prior / state.guesses
    each = state.guesses / prefixes
    spread = state.prior_square / prefixes - (each * mean).square()
    return mean, (spread.clamp(min=0) / prefixes).sqrt() / each
