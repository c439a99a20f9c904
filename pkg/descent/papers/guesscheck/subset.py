"""Guess & Check where hits are rare, in law: subset simulation with elliptical slice sampling.

The posterior is the prior given L_train < tolerance. Chains go there through nested events: each level keeps the best
share of them, draws the rest anew from those, and moves all by sweeps that leave the prior given the level invariant
(docs/papers/guesscheck.md, "Subset simulation"). Works at every depth and width, for every activation and prior.

Chains of one run share ancestors, so their spread understates the error: a seed has R independent runs (replicates),
and only the spread between those is an error. Axes: S seeds, P weights, R replicates, N chains each, C = R N columns.
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
from descent.papers.guesscheck.factorisation import Network, top_share
from descent.papers.guesscheck.posterior import Posterior
from descent.papers.guesscheck.problem import Task, generalisation_loss, training_loss
from descent.papers.guesscheck.settings import SETTINGS


class State(NamedTuple):
    z: Tensor  # (S, P, C) the weights as standard normals
    loss: Tensor  # (S, C) L_train of them
    reach: Tensor  # (S, R) half the width of the sweeps' first brackets, an angle
    log_acceptance: Tensor  # (S, R) log of the estimated probability of the event reached so far
    rounds: Tensor  # (S, R) steps until all records were there
    stage: Tensor  # (S, R) steps since the tolerance was reached; 0: not yet
    first: Tensor  # (S, R) mean L_gen of the start, draws of the prior
    error: Tensor  # (S, R) sum of L_gen over the recorded sweeps and chains
    square: Tensor  # (S, R) sum of its squares
    share: Tensor  # (S, R) sum of the products' top singular shares
    product: Tensor  # (S, R, m, m') sum of the products


class Info(NamedTuple):
    threshold: Tensor  # (S, R) the level that the step moved at
    moved: Tensor  # (S, R) share of chain-sweeps that found a new point


class Noise(NamedTuple):
    normal: Tensor  # (sweeps, S, P, C)
    uniform: Tensor  # (sweeps, proposals + 1, S, C): the bracket, then the angles
    offset: Tensor  # (S, R) where the systematic resampling begins


def subset(
    task: Task, network: Network, streams: Streams, seeds: Sequence[int], *, tolerance: float, chains: int = 128,
    replicates: int = 4, share: float = 0.5, sweeps: int = 4, proposals: int = 5, burn_in: int = 2, kept: int = 4,
    thin: int = 4, dtype: torch.dtype = torch.float32,
) -> Method:  # fmt: skip
    """One step: a level (or, at the tolerance, none) and `sweeps` sweeps at it.

    task: of S tasks, on the device and of the dtype that the chains shall have. burn_in, kept: steps at the tolerance
    before records begin, and recorded ones. Raises SettingError for a setting outside its limits.
    """
    check(
        "subset", SETTINGS, tolerance=tolerance, chains=chains, replicates=replicates, share=share, sweeps=sweeps,
        proposals=proposals, burn_in=burn_in, kept=kept, thin=thin,
    )  # fmt: skip
    weights, columns, count = sum(network.sizes), replicates * chains, len(seeds)
    best = max(1, round(share * chains))

    def normals(out: Tensor, *key: int | str) -> None:
        """Fill out (S, ..., C), row s from seed s's own stream."""
        for row, seed in zip(out, seeds, strict=True):
            torch.randn(row.shape, generator=streams.torch("chains", seed, *key), out=row)

    def init() -> State:
        device = task.labels.device
        z = torch.empty(count, weights, columns, dtype=dtype)
        normals(z, "start")
        z = z.to(device)
        zero = torch.zeros(count, replicates, dtype=torch.float64).to(device)
        product = zero[..., None, None].expand(-1, -1, network.rows, network.columns)
        guesses = network.product(z)
        first = generalisation_loss(task, guesses).double().unflatten(1, (replicates, chains)).mean(-1)
        return State(
            z, training_loss(task, guesses), zero + math.pi, zero, zero, zero, first, zero, zero, zero, product.clone()
        )

    def draw(k: int, steps: int) -> Noise:
        normal = torch.empty(steps, sweeps, count, weights, columns, dtype=dtype)
        uniform = torch.empty(steps, sweeps, proposals + 1, count, columns, dtype=dtype)
        offset = torch.empty(steps, count, replicates, dtype=torch.float64)
        for s, seed in enumerate(seeds):
            generator = streams.torch("sweeps", seed, k)
            for i in range(steps):
                offset[i, s] = torch.rand(replicates, generator=generator, dtype=torch.float64)
                for j in range(sweeps):
                    torch.randn((weights, columns), generator=generator, out=normal[i, j, s])
                    uniform[i, j, :, s] = torch.rand((proposals + 1, columns), generator=generator, dtype=dtype)
        return Noise(normal, uniform, offset)

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        losses = state.loss.unflatten(1, (replicates, chains))
        ordered, order = losses.sort(-1)
        # The level: the loss of the first chain that is not among the best share, but never below the tolerance.
        threshold = ordered[..., best].clamp(min=tolerance)
        survivors = (losses < threshold[..., None]).sum(-1)
        picked = _systematic(order, survivors, noise.offset)
        column = (picked + torch.arange(replicates, device=picked.device)[:, None] * chains).flatten(1)
        z = state.z.gather(2, column[:, None].expand_as(state.z))
        loss = state.loss.gather(1, column)
        reach = state.reach
        total = span = torch.zeros_like(reach)
        records = [state.error, state.square, state.share, state.product]
        recording = ((state.stage > burn_in) & (state.stage <= burn_in + kept)).double()
        level = threshold.repeat_interleave(chains, 1)
        bracket = reach.to(dtype).repeat_interleave(chains, 1)
        for j in range(sweeps):
            z, loss, angle = sweep(task, network, z, loss, level, bracket, noise.normal[j], noise.uniform[j])
            turned = angle.unflatten(1, (replicates, chains)).abs().double()
            total, span = total + (turned > 0).sum(-1), span + turned.sum(-1)
            if j % thin == thin - 1:
                records = _recorded(records, task, network.product(z), recording)
        stage = torch.where((threshold <= tolerance) | (state.stage > 0), state.stage + 1, state.stage)
        return State(
            z, loss,
            # Four mean angles either way hold nearly all that a sweep can reach; the whole ellipse is 2 pi.
            reach=(4 * span / total.clamp(min=1)).clamp(max=math.pi),
            log_acceptance=state.log_acceptance + (survivors / chains).double().log(),
            rounds=state.rounds + (state.stage <= burn_in + kept),
            stage=stage, first=state.first, error=records[0], square=records[1], share=records[2], product=records[3],
        ), Info(threshold.double(), total / (sweeps * chains))  # fmt: skip

    return Method(init, step, draw)


def finished(state: State, *, burn_in: int, kept: int) -> Tensor:
    """(S, R) bool: the replicate has all its records; later steps change none of its sums."""
    return state.stage > burn_in + kept


def posterior(state: State, *, chains: int, records: int) -> tuple[Posterior, Tensor]:
    """The estimates that a finished state stands for, and the mean top singular share (S,).

    records: sweeps recorded, `kept * sweeps / thin`. The error is that of R independent means; the effective size is
    how often the variance inside replicates contains the variance of their mean.
    """
    count = chains * records
    errors, replicates = state.error / count, state.error.shape[1]
    mean, between = errors.mean(1), errors.var(1) / replicates
    inside = (state.square / count).mean(1) - mean.square()
    # The mean of the runs' probabilities, each unbiased up to the choice of levels.
    log_acceptance = state.log_acceptance.logsumexp(1) - math.log(replicates)
    found = Posterior(
        mean=state.product.mean(1) / count,
        error=mean,
        standard_error=between.sqrt(),
        accepted=torch.full_like(mean, replicates * count),
        log10_acceptance=log_acceptance / math.log(10),
        effective_size=inside / between,
        prior_error=state.first.mean(1),
    )
    return found, state.share.mean(1) / count


def sweep(
    task: Task, network: Network, z: Tensor, loss: Tensor, level: Tensor, reach: Tensor, normal: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One elliptical slice move of every chain within loss < level: new z, new loss, the angle moved by (0: stayed).

    Murray, Adams and MacKay (2010) with a hard constraint for a likelihood. Two changes, both of which leave the target
    invariant: the first bracket has the width 2 `reach`, placed at random around the current point (Neal 2003), and a
    chain that has found nothing after all its proposals stays, so that no chain waits for another.
    """
    low = -2 * reach * uniform[0]
    high = low + 2 * reach
    angle, found = torch.zeros_like(loss), torch.zeros_like(loss, dtype=torch.bool)
    for u in uniform[1:]:
        proposed = low + (high - low) * u
        new = training_loss(task, _product_at(network, z, normal, proposed))
        inside = new < level
        take = inside & ~found
        angle, loss = torch.where(take, proposed, angle), torch.where(take, new, loss)
        found = found | inside
        low, high = torch.where(proposed < 0, proposed, low), torch.where(proposed < 0, high, proposed)
    return _turned(z, normal, angle), loss, angle


def _turned(z: Tensor, normal: Tensor, angle: Tensor) -> Tensor:
    """The point of the ellipse through z and normal at the angle."""
    return (z * angle.cos()[:, None]).addcmul_(normal, angle.sin()[:, None])


def _product_at(network: Network, z: Tensor, normal: Tensor, angle: Tensor) -> Tensor:
    """The product at the angle, the weights turned a layer at a time: the whole candidate never lies in memory."""
    here, there = z.split(network.sizes, 1), normal.split(network.sizes, 1)
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    turned = lambda i: (here[i] * c).addcmul_(there[i], s)  # noqa: E731
    return network.output(network.hidden(turned), turned(-1))


def _systematic(order: Tensor, survivors: Tensor, offset: Tensor) -> Tensor:
    """N positions (S, R, N), each of the first `survivors` (S, R) of `order` as often as any other to within one."""
    chains = order.shape[-1]
    place = torch.arange(chains, device=order.device) + offset[..., None]
    rank = (place * (survivors / chains)[..., None]).long()
    return order.gather(-1, torch.minimum(rank, survivors[..., None] - 1))


def _recorded(records: list[Tensor], task: Task, product: Tensor, recording: Tensor) -> list[Tensor]:
    """The sums of State with this sweep's chains added in the replicates that record (S, R), as 0 or 1."""
    replicates = recording.shape[1]
    error = generalisation_loss(task, product).double().unflatten(1, (replicates, -1))
    share = top_share(product).unflatten(1, (replicates, -1))
    mean = product.double().unflatten(-1, (replicates, -1)).sum(-1).movedim(-1, 1)
    new = error.sum(-1), error.square().sum(-1), share.sum(-1), mean
    weights = recording, recording, recording, recording[..., None, None]
    return [old + weight * value for old, weight, value in zip(records, weights, new, strict=True)]
