"""Guess & Check at depth two, in law: importance sampling in which every draw of the first layer counts.

Given H = sigma(W_1) and a Gaussian last layer, vec(Y) is Gaussian with covariance (H H' / m') (x) I, so the n
measurements are Gaussian too, and the test loss given the measurements has a closed form
(docs/papers/guesscheck.md, "Importance sampling"). A draw is a first layer and a point of the accepted ball from a
proposal that sits on the ball; its weight is the density ratio, its value the closed form.

Axes: S seeds, M draws, n measurements, q unseen directions, m rows, m' columns, k width. float64: the measurements'
covariance is ill-conditioned, since the A_i are normalised but not orthogonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.method import Method
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.guesscheck.factorisation import ACTIVATIONS, Network
from descent.papers.guesscheck.posterior import Posterior, ratio_error
from descent.papers.guesscheck.problem import Task
from descent.papers.guesscheck.settings import SETTINGS

SPREAD = 0.8  # ours: the proposal's variance across the ball, in units of the tolerance


class State(NamedTuple):
    """Sums over the draws so far, of weights w and values g."""

    draws: Tensor  # (S,)
    weight: Tensor  # (S,) sum of w
    error: Tensor  # (S,) sum of w g
    weight_square: Tensor  # (S,) sum of w^2
    cross: Tensor  # (S,) sum of w^2 g
    error_square: Tensor  # (S,) sum of w^2 g^2
    hits: Tensor  # (S,) draws inside the ball
    prior: Tensor  # (S,) sum of the prior's mean test loss given the first layer
    product: Tensor  # (S, m, m') sum of w E[Y]


class Info(NamedTuple):
    effective_size: Tensor  # (S,) of the weights so far


class Noise(NamedTuple):
    layer: tuple[Tensor, ...]  # the first layer's normals (S, M, m, k), or Bartlett's (S, M, m (m - 1) / 2), (S, M, m)
    point: Tensor  # (S, M, n) the point's normals


def importance(
    task: Task, network: Network, streams: Streams, seeds: Sequence[int], *, tolerance: float, batch: int = 500,
    pilot: int = 500,
) -> Method:  # fmt: skip
    """One step: `batch` draws of every seed. task: float64, on the device.

    Raises SettingError for a setting outside its limits, and for a network whose product given the first layer is not
    Gaussian: a depth other than two, a uniform prior, normalised products.
    """
    check("importance", SETTINGS, tolerance=tolerance, batch=batch, pilot=pilot)
    if network.depth != 2 or network.prior != "gauss" or network.normalised:
        raise SettingError(
            "importance: the sampler needs depth 2, a gauss prior and products that are not normalised; take subset"
        )
    rows, columns, width = network.rows, network.columns, network.width
    measurements, unseen = task.seen.shape[1], task.unseen.shape[1]
    seen = task.seen.unflatten(2, (rows, columns))
    free = task.unseen.unflatten(2, (rows, columns))
    # Covariances are linear in K = H H': one product with these gives them for every draw.
    of_seen = torch.einsum("saij,sbkj->sikab", seen, seen).flatten(3).flatten(1, 2) / columns
    of_both = torch.einsum("sbij,sakj->sikba", free, seen).flatten(3).flatten(1, 2) / columns
    of_free = torch.einsum("sbij,sbkj->sik", free, free).flatten(1) / columns
    wishart = network.activation == "linear" and width >= rows

    def layers(k: int | str, count: int) -> tuple[Tensor, ...]:
        """The first layers' random numbers of a block, (S, count, ...)."""
        if not wishart:
            out = torch.empty(len(seeds), count, rows, width)
            for row, seed in zip(out, seeds, strict=True):
                torch.randn(row.shape, generator=streams.torch("first layer", seed, k), out=row)
            return (out,)
        below = streams.normal("first layer", seeds, (count, rows * (rows - 1) // 2), k)
        freedom = width - np.arange(rows)
        chi = [streams.numpy("chi", seed, k).chisquare(freedom, (count, rows)) for seed in seeds]
        return below, torch.from_numpy(np.sqrt(np.stack(chi)))

    lower = torch.tril_indices(rows, rows, -1)
    place = lower[0] * rows + lower[1]
    diagonal = torch.arange(rows) * (rows + 1)
    place, diagonal = place.to(task.seen.device), diagonal.to(task.seen.device)

    def gram(layer: tuple[Tensor, ...]) -> Tensor:
        """K = H H' (S, M, m, m)."""
        if not wishart:  # a seed at a time: the layers of all, in float64, are many times the cache
            hidden = (ACTIVATIONS[network.activation](z.double().mul_(width**-0.5)) for z in layer[0])
            return torch.stack([h @ h.mT for h in hidden])
        below, chi = layer  # Bartlett: K = L L' / k with chi on L's diagonal, normals below
        factor = below.new_zeros(*below.shape[:2], rows * rows)
        factor = factor.index_copy(2, place, below).index_copy(2, diagonal, chi).unflatten(2, (rows, rows))
        return factor @ factor.mT / width

    device = task.seen.device
    mean_gram = gram(tuple(x.to(device) for x in layers("pilot", pilot))).mean(1)
    typical = (mean_gram.flatten(1)[:, None] @ of_seen).unflatten(2, (measurements, measurements))[:, 0]
    spread = SPREAD * tolerance
    precision = torch.linalg.inv_ex(typical).inverse + torch.eye(measurements, dtype=torch.float64).to(device) / spread
    covariance = torch.linalg.inv_ex(precision).inverse
    root = torch.linalg.cholesky_ex(covariance).L  # (S, n, n)
    centre = (covariance @ task.labels[..., None])[..., 0] / spread  # (S, n)
    log_root = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    length = task.answers.square().sum(1)

    def init() -> State:
        zero = torch.zeros(len(seeds), dtype=torch.float64).to(device)
        return State(
            zero, zero, zero, zero, zero, zero, zero, zero, zero[:, None, None].expand(-1, rows, columns).clone()
        )

    def draw(k: int, count: int) -> Noise:
        drawn = layers(k, count * batch)
        point = streams.normal("point", seeds, (count * batch, measurements), k)
        cut = lambda x: x.unflatten(1, (count, batch)).movedim(1, 0)  # noqa: E731
        return Noise(tuple(cut(x) for x in drawn), cut(point))

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        k = gram(noise.layer)
        flat = k.flatten(2)
        factor = torch.linalg.cholesky_ex((flat @ of_seen).unflatten(2, (measurements, measurements))).L
        across = (flat @ of_both).unflatten(2, (unseen, measurements))
        total = flat @ of_free[..., None]  # (S, M, 1) trace of the unseen directions' covariance
        v = centre[:, None] + noise.point @ root.mT
        solved = torch.linalg.solve_triangular(factor, torch.cat([v[..., None], across.mT], -1), upper=False)
        a, x = solved[..., :1], solved[..., 1:]  # (S, M, n, 1), (S, M, n, q)
        inside = (v - task.labels[:, None]).square().mean(-1) < tolerance
        log_weight = (
            0.5 * (noise.point.square().sum(-1) - a[..., 0].square().sum(-1))
            - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + log_root[:, None]
        )  # fmt: skip
        weight = torch.where(inside, log_weight.exp(), 0.0)
        away = (x.mT @ a)[..., 0] - task.answers[:, None]
        spread_ = total[..., 0] - x.square().sum((-2, -1))
        g = (away.square().sum(-1) + spread_) / unseen
        back = torch.linalg.solve_triangular(factor.mT, a, upper=True)[..., 0]  # C^-1 v
        product = (k / columns) @ (back @ task.seen).unflatten(2, (rows, columns))
        sums = (torch.full_like(state.draws, batch), weight.sum(1), (weight * g).sum(1), weight.square().sum(1),
                (weight.square() * g).sum(1), (weight * g).square().sum(1), inside.double().sum(1),
                ((total[..., 0] + length[:, None]) / unseen).sum(1),
                (weight[..., None, None] * product).sum(1))  # fmt: skip
        new = State(*(old + more for old, more in zip(state, sums, strict=True)))
        return new, Info(new.weight.square() / new.weight_square)

    return Method(init, step, draw)


def posterior(state: State) -> Posterior:
    """The estimates that a state stands for."""
    some = state.weight > 0
    error = torch.where(some, state.error / state.weight, torch.nan)
    return Posterior(
        mean=torch.where(some[:, None, None], state.product / state.weight[:, None, None], torch.nan),
        error=error,
        standard_error=ratio_error(state.weight, state.weight_square, state.cross, state.error_square, error),
        accepted=state.hits,
        log10_acceptance=(state.weight / state.draws).log10(),
        effective_size=torch.where(some, state.weight.square() / state.weight_square, 0.0),
        prior_error=state.prior / state.draws,
    )
