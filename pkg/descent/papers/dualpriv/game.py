"""Is one record in? An audit of the training steps that the study runs, each private method for itself.

Many trials of one small training run, as rows of one tensor program: in half of them a chosen record may be drawn, in the
others it does not exist. Everything is the study's own: scenes, tokens, Poisson sampling, the method's `draw` and `step`,
the ledger. The attacker is the strongest that the guarantee holds against: knows every record, sees every state, and adds
up the log-likelihood ratio of "may be drawn" against "is not there" over the steps; guesses "in" above a threshold that
was fixed beforehand. True and false positives bound epsilon from below (Clopper and Pearson's ends).

Two twins show that the procedure sees what there is to see: a twentieth of the noise that is accounted, and none at all. Both
must be caught. The decoder is smaller than the study's and untrained: a step is the same program whatever it trains.

Axes: R trials, n records (the last is the one in question), p parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.dualpriv.first_order import clip_factors
from descent.papers.dualpriv.lora import initial
from descent.papers.dualpriv.methods import FirstOrder, Recipe, recipe_of
from descent.papers.dualpriv.model import Sizes, initial_parameters
from descent.papers.dualpriv.pretraining import flat, named
from descent.papers.dualpriv.problem import Problem, sample_gradients, sample_losses
from descent.papers.dualpriv.training import (
    adapter,
    fusion_std,
    open_ledger,
    quieter,
    record_ledger,
    tokens_of,
)
from descent.papers.dualpriv.world import FIXED, World
from descent.privacy.audit import tpr_fpr_bound
from descent.privacy.ledger import Ledger

SIZES = Sizes(width=16, heads=2, layers=2)
BLOCK = 2
"""Steps a hand-over: fewer than a run's, so that noise repeated in every block would be seen."""
TRIALS_APART = 10**6  # trial i of seed s draws from the streams of seed s * TRIALS_APART + i
_FLOOR = 0.02  # least deviation that the attacker reckons with, in clip norms: rounding
_ROWS = 200  # trials whose gradients are held together


class Attacked(NamedTuple):
    """A run and what its attacker has seen of it."""

    run: Any  # the method's state, a row a trial
    gain: Tensor  # (R,) float64


class Trials(NamedTuple):
    """What one seed's game gave."""

    gain: np.ndarray  # (R,) the attacker's log-likelihood ratio
    present: np.ndarray  # (R,) bool: the record could be drawn


def run(job: Job, context: Any) -> Records:
    """Counts and bounds, seed by seed; neither gains nor coins are recorded."""
    records = Records()
    world = game_world(context)
    for variant in job.variants:
        p = variant.params
        counts: dict[str, list[float]] = {}
        for seed in variant.seeds:
            found = play(context, world, variant, seed)
            guessed = found.gain > p["threshold"]
            half = int(found.present.sum())
            right, wrong = int((guessed & found.present).sum()), int((guessed & ~found.present).sum())
            rest = len(guessed) - half
            row = {
                "guessed_in_present": right, "present_trials": half, "guessed_in_absent": wrong, "absent_trials": rest,
                "epsilon_lower_bound": tpr_fpr_bound(right, half, wrong, rest),
                "epsilon_cap": tpr_fpr_bound(half, half, 0, rest),
                "nominal_epsilon": float(p["epsilon"]),
            }  # fmt: skip
            for metric, value in row.items():
                counts.setdefault(metric, []).append(float(value))
        for metric, values in counts.items():
            records.add(variant, metric, np.array(values), step=p["steps"])
        record_ledger(records, variant, open_ledger(recipe_of(variant), p))
    return records


def game_world(context: Any) -> World:
    """A small untrained base."""
    weights = flat(initial_parameters(SIZES, context.streams.torch("game base", FIXED))).to(context.device)
    return World(SIZES, "content", named(SIZES, weights), context.data["digits"], context.streams, context.device)


def play(context: Any, world: World, variant: Variant, seed: int) -> Trials:
    """All trials of one seed."""
    recipe, params = recipe_of(variant), variant.params
    ledger = open_ledger(recipe, params)
    trials, steps = params["trials"], params["steps"]
    split = world.split("game", params["records"])
    inputs = tokens_of(world, split, recipe, fusion_std(ledger, recipe))
    problem = Problem(adapter(world, params), world.frozen, world.rotation(inputs.x.shape[1]), inputs)
    method = recipe.on(problem, ledger)
    rows = tuple(trial_seeds(seed, trials))
    present = np.arange(trials) % 2 == 0
    members = np.ones((trials, params["records"]), dtype=bool)
    members[:, -1] = present
    assert method.drawing is not None
    draw = quieter(method.drawing(world.streams, rows, BLOCK, members), params["noise_share"])
    start = initial(problem.layout, [world.streams.torch("adapter", seed)]).to(world.device)
    attacker = Attacker(problem, ledger, recipe, params["noise_share"])

    def step(state: Attacked, noise: Any) -> Attacked:
        after = method.update(state.run, noise)
        return Attacked(after, state.gain + attacker.gain(state.run, after, getattr(noise, "direction", None)))

    _, trace = iterate(
        context,
        f"{variant.method}, noise share {params['noise_share']}, seed {seed}",
        Attacked(
            method.init(start.expand(trials, -1).clone()), torch.zeros(trials, dtype=torch.float64, device=world.device)
        ),
        step,
        steps=steps,
        block=BLOCK,
        draw=draw,
        measure=lambda state: {"gain": state.gain},
        at=(steps,),
    )
    return Trials(trace.last("gain"), present)


class Attacker:
    """Knows the records, the method and how much noise is really added; sees the state before and after a step."""

    def __init__(self, problem: Problem, ledger: Ledger, recipe: Recipe, noise_share: float):
        self.problem, self.ledger, self.recipe = problem, ledger, recipe
        self.deviation = max(noise_share * ledger.noise_multiplier, _FLOOR) * ledger.clip_norm

    def gain(self, before: Any, after: Any, direction: Tensor | None) -> Tensor:
        """(R,) log of P(what was seen | the record may be drawn) / P(... | it is not there), one step."""
        parts, recipe = [], self.recipe
        for at in range(0, len(before.theta), _ROWS):
            rows = slice(at, at + _ROWS)
            theta, moved = before.theta[rows], after.theta[rows]
            if isinstance(recipe, FirstOrder):
                update = self._noisy_sum(recipe, theta, before.first[rows], moved, after.first[rows])
                effects = self._gradients(theta) * (update != 0)[:, None]  # of the blocks that were kept
            else:
                assert direction is not None, "it is public"
                z = direction[rows]
                along = ((theta - moved) * z).sum(-1, keepdim=True)
                update = along / z.square().sum(-1, keepdim=True) * self.ledger.batch / recipe.step_size
                effects = self._slopes(theta, z, recipe.probe)
            parts.append(log_ratio(update.double(), effects.double(), self.ledger.rate, self.deviation))
        return torch.cat(parts)

    def _noisy_sum(self, recipe: FirstOrder, theta: Tensor, first: Tensor, moved: Tensor, moment: Tensor) -> Tensor:
        """sum_i c_i g_i + noise, (R, p), read off two states: their difference, or the change of Adam's first moment."""
        if recipe.optimiser == "adam":
            return (moment - 0.9 * first) / 0.1 * self.ledger.batch
        return (theta - moved) / recipe.step_size * self.ledger.batch

    def _gradients(self, theta: Tensor) -> Tensor:
        """Every record's clipped gradient, (R, n, p)."""
        index, there = self._everyone(theta)
        gradients = sample_gradients(self.problem, theta, index, there)
        return torch.cat(gradients, -1) * clip_factors(gradients, self.ledger.clip_norm).transpose(-1, -2)

    def _slopes(self, theta: Tensor, z: Tensor, probe: float) -> Tensor:
        """Every record's clipped slope along z, (R, n, 1)."""
        index, _ = self._everyone(theta)
        limit = self.ledger.clip_norm
        above = sample_losses(self.problem, theta + probe * z, index)
        below = sample_losses(self.problem, theta - probe * z, index)
        return ((above - below) / (2 * probe)).clamp(-limit, limit)[..., None]

    def _everyone(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        count = len(self.problem.train.answer)
        index = torch.arange(count, device=theta.device).expand(len(theta), -1)
        return index, torch.ones_like(index, dtype=theta.dtype)


def log_ratio(update: Tensor, effects: Tensor, rate: float, deviation: float) -> Tensor:
    """(R,) the log-likelihood ratio of one noisy sum, update (R, p), given each record's effect (R, n, p).

    Every record but the last is in with probability `rate`; the last one too, or not at all. Noise N(0, deviation^2).
    """
    count = effects.shape[1]
    bits = torch.arange(count - 1, -1, -1, device=update.device)
    choices = ((torch.arange(2**count, device=update.device)[:, None] >> bits) & 1).to(update.dtype)  # (2^n, n)
    gram = effects @ effects.transpose(-1, -2)
    along = (effects @ update[..., None])[..., 0]  # (R, n)
    fit = along @ choices.T - 0.5 * torch.einsum("ci,rij,cj->rc", choices, gram, choices)
    others = choices[:, :-1].sum(-1)
    weight = others * np.log(rate) + (count - 1 - others) * np.log1p(-rate) if rate < 1 else _certain(others, count - 1)
    score = fit / deviation**2 + weight
    absent, included = (torch.logsumexp(score[:, last::2], -1) for last in (0, 1))  # the last record's bit alternates
    if rate == 1:
        return included - absent
    return torch.logaddexp(included + np.log(rate), absent + np.log1p(-rate)) - absent


def _certain(others: Tensor, count: int) -> Tensor:
    return torch.where(others == count, 0.0, -torch.inf).to(others.dtype)


def trial_seeds(seed: int, count: int) -> Sequence[int]:
    """The streams that the trials of a seed draw from: no two trials of a study share one."""
    return range(seed * TRIALS_APART, seed * TRIALS_APART + count)
