"""E2, E3 and E4: the inner loops alone. Z = Z* stays frozen; first the slope from its start, then, with K = K*, the intercepts.

Rows are seeds, and in E4 noise levels by seeds: the noise changes the covariance only, never K*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.instances import (
    game_of,
    initial_intercepts,
    initial_slopes,
    instance,
    players_norm,
    slope_norm,
)
from descent.papers.gmfg.intercept import gradient, hessian
from descent.papers.gmfg.oracles import riccati
from descent.papers.gmfg.outer import first_below
from descent.papers.gmfg.slope import natural_gradient, plain_gradient
from descent.toolbox.capture import captured

BLOCK = 50


def run(job: Job, context: Context) -> Records:
    """Errors at every step (`points` 0) or on a logarithmic grid, and the steps needed to reach the tolerance."""
    records = Records()
    for _, group in groupby(sorted(job.variants, key=_program), key=_program):
        variants = list(group)
        _slopes(variants, context, records)
        if variants[0].params["intercept_cap"]:
            _intercepts(variants[0], context, records)
    return records


def _program(variant: Variant) -> str:
    """Variants that agree on this are rows of one program: noise levels share it when only the slope is run."""
    own = ("noise",) if not variant.params["intercept_cap"] else ()
    same = {name: value for name, value in variant.params.items() if name not in own}
    return f"{variant.method} {sorted(same.items())} {variant.seeds}"


def step_sizes(variant: Variant, game: Game) -> tuple[float, float]:
    """Functional step sizes of slope and intercept; B2's Euclidean one is dt times as long."""
    p = variant.params
    if variant.method == "unscaled":
        return (p["euclidean_step_size"] * game.dt,) * 2
    return p["slope_step_size"], p["intercept_step_size"]


def _slopes(variants: Sequence[Variant], context: Context, records: Records) -> None:
    first, seeds = variants[0], variants[0].seeds
    p, device = first.params, context.device
    levels = torch.tensor([v.params["noise"] for v in variants], dtype=torch.float64).repeat_interleave(len(seeds))
    host = game_of(p, noise=levels)
    best = riccati(host).K[None].to(device)
    game = host.to(device)
    start = initial_slopes(context.streams, seeds, p["intervals"]).repeat(len(variants), 1, 1, 1).to(device)
    direction = plain_gradient if first.method == "vanilla" else natural_gradient
    size, norm = step_sizes(first, host)[0], slope_norm(game, best)
    step = captured(lambda K: K - size * direction(game, K))
    trace = _loop(
        context, f"slope-{first.method}-{p['intervals']}", start, step, lambda K: slope_norm(game, K - best) / norm, "K_error",
        p["slope_cap"], p["tolerance"], _stops(variants),
    )  # fmt: skip
    for i, variant in enumerate(variants):
        rows = slice(i * len(seeds), (i + 1) * len(seeds))
        _record(variant, trace, rows, "K_error", "slope_steps_needed", records)


def _intercepts(variant: Variant, context: Context, records: Records) -> None:
    p, seeds, device = variant.params, variant.seeds, context.device
    host = instance(context.streams, seeds, p, [p["graphon"]])
    game, players, best = host.to(device)
    start = initial_intercepts(context.streams, seeds, p["intervals"], p["players"]).to(device)
    size, norm = step_sizes(variant, host.game)[1], players_norm(game, best.G)
    matrix = hessian(game, best.K)
    at_zero, _ = gradient(game, best.K, torch.zeros_like(start), best.Z, players.start)
    step = captured(lambda G: G - size * ((matrix @ G.flatten(1, 2).flatten(2)).reshape(G.shape) + at_zero))
    trace = _loop(
        context, f"intercept-{variant.method}-{p['intervals']}", start, step,
        lambda G: (players_norm(game, G - best.G) / norm)[:, 0], "G_error",
        p["intercept_cap"], p["tolerance"], _stops([variant]),
    )  # fmt: skip
    _record(variant, trace, slice(None), "G_error", "intercept_steps_needed", records)


def _stops(variants: Sequence[Variant]) -> bool:
    """Whether the loop may end once all have arrived: only where no curve is kept (it must not know the others of its batch)."""
    return variants[0].params["points"] == 0


def _loop(
    context: Context, name: str, start: Tensor, step: Callable[[Tensor], Tensor], error: Callable[[Tensor], Tensor],
    metric: str, cap: int, tolerance: float, stops: bool,
) -> Trace:  # fmt: skip
    """The error at every step, from the start to `cap`."""

    def over(state: tuple[Tensor]) -> Tensor:
        e = error(state[0])
        return (e < tolerance) | ~e.isfinite()

    _, trace = iterate(
        context, name, (start,), lambda state, _: (step(state[0]),), steps=cap, block=BLOCK,
        measure=lambda state: {metric: error(state[0])}, at=range(cap + 1), finished=over if stops else None,
    )  # fmt: skip
    return trace


def _record(variant: Variant, trace: Trace, rows: slice, metric: str, needed: str, records: Records) -> None:
    errors, points = trace.values[metric][:, rows], variant.params["points"]
    count, status = first_below(errors, variant.params["tolerance"])
    records.add(variant, needed, count, status=status)
    if points:
        last = len(errors) - 1
        at = range(last + 1) if points > last else log_grid(last, points)
        records.add(variant, metric, errors[list(at)], step=list(at))
