"""The sampled objective F^{eps,m} and its gradient g^{eps,m}, all seeds, configurations and data of a batch at once.

For datum i and draws zeta_ij, j <= m, from q(. | x_i) with corr_ij = log pi0 - log q,

    F^{eps,m} = lam delta^2 + mean_i eps (log sum_j exp((f(zeta_ij) - lam c_ij)/eps + corr_ij) - log m),

and g^{eps,m} weighs gradients of f and -c by the softmax of that exponent, the draws held fixed.

plain: q = pi0. shifted: a normal around the mode of that exponent, deviation s with 1/s^2 = 1/sigma^2 + 2 lam/eps; as eps
falls the mode becomes the datum's worst case. It is exact for the squared loss, by bisection for the logistic one. library:
the peer code's centre x + grad_x f / (2 lam), deviation sigma. Where labels may flip, the draws are split evenly over the
labels and weighted back.

Axes: S seeds, C configurations that share a seed's draws, b data, L labels, m draws a label, d features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.wdro.classification import Classification
from descent.papers.wdro.point import Evaluation, Point, direction
from descent.papers.wdro.regression import Regression


class Cloud(NamedTuple):
    """Draws around every datum: x' = x + centre w/|w| + deviation u."""

    centre: Tensor  # (S, C, b, L)
    deviation: Tensor  # (S, C)


def cloud(
    problem: Regression | Classification,
    point: Point,
    prediction: Tensor,
    labels: Tensor,
    epsilon: Tensor,
    sampler: str,
) -> Cloud:
    """Where the `sampler` draws; prediction (S, C, b), labels (S, 1, b), epsilon (C,) or (S, C)."""
    lam, sigma = point.lam, problem.deviation
    whole = torch.full_like(lam, sigma)
    if sampler == "plain":
        return Cloud(torch.zeros_like(prediction)[..., None].expand(*prediction.shape, problem.strata), whole)
    norm = point.weight.norm(dim=-1)
    if sampler == "library":
        slope = problem.loss(prediction[..., None], problem.strata_labels(labels))[1]
        return Cloud(slope * (norm / (2 * lam))[..., None, None], whole)
    narrow = (1 / sigma**2 + 2 * lam / epsilon).rsqrt()
    return Cloud(problem.shift(prediction, labels, norm, lam + epsilon / (2 * sigma**2)), narrow)


def sampled(
    problem: Regression | Classification,
    point: Point,
    features: Tensor,
    labels: Tensor,
    noise: Tensor,
    epsilon: Tensor,
    sampler: str,
) -> Evaluation:
    """F^{eps,m} and g^{eps,m} on the data given.

    point: weight (S, C, d), intercept and lam (S, C). features (S, b, d), labels (S, b). noise: u (S, b, L, m, d),
    standard normal. epsilon (C,) or (S, C). With S = 1 the data may be shared by all rows of C.
    """
    (S, C, _), (b, L, m, d) = point.weight.shape, noise.shape[1:]
    norm, unit = direction(point.weight)

    def wide(x):
        return x[..., None, None, None]

    prediction = point.weight @ features.transpose(-1, -2) + point.intercept[..., None]  # (S, C, b)
    centre, deviation = cloud(problem, point, prediction, labels[:, None], epsilon, sampler)
    flat = noise.reshape(S, b * L * m, d)
    along = (unit @ flat.transpose(-1, -2)).reshape(S, C, b, L, m)
    square = noise.square().sum(-1)[:, None]  # (S, 1, b, L, m)
    centre, s = centre[..., None], wide(deviation)
    cost = centre.square() + (2 * centre) * (s * along) + s.square() * square
    moved = prediction[..., None, None] + wide(norm) * (centre + s * along)
    losses, slopes = problem.loss(moved, problem.strata_labels(labels)[:, None, ..., None])
    exponent = torch.zeros_like(cost)
    if sampler != "plain":
        exponent = square / 2 - cost / (2 * problem.deviation**2) + wide(d * (deviation / problem.deviation).log())
    if L > 1:
        assert isinstance(problem, Classification) and problem.kappa is not None, "only it has labels that flip"
        flipped = torch.arange(2, dtype=cost.dtype, device=cost.device)[:, None]
        kept, turned = (math.log(L * chance) for chance in (1 - problem.flip, problem.flip))
        cost, exponent = cost + problem.kappa * flipped, exponent + kept + (turned - kept) * flipped
    exponent = exponent + (losses - wide(point.lam) * cost) / wide(epsilon.expand(S, C))
    exponent = exponent.flatten(-2)
    highest = exponent.amax(-1, keepdim=True)
    p = (exponent - highest).exp()
    total = p.sum(-1, keepdim=True)
    p = (p / total).reshape(S, C, b, L, m)
    weighted = p * slopes
    each = weighted.sum((-2, -1))  # (S, C, b)
    drift = (weighted.sum(-1) * centre[..., 0]).sum((-2, -1))
    spread = weighted.reshape(S, C, -1) @ flat
    weight = (each @ features + drift[..., None] * unit + deviation[..., None] * spread) / b
    intercept = each.mean(-1) if problem.intercept else torch.zeros_like(point.lam)
    lam = problem.radius**2 - (p * cost).sum((-2, -1)).mean(-1)
    value = point.lam * problem.radius**2 + epsilon * ((highest + total.log())[..., 0].mean(-1) - math.log(L * m))
    return Evaluation(value, Point(weight, intercept, lam))
