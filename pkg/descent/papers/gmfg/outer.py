"""E1, E6 and E7: the outer iteration of every method, to the equilibrium; all seeds, graphons and players in one batch.

The slope knows no graphon, so variants that differ in their graphon alone share one program (and its slopes). All is done in the
graphons' modes (`Players.modes`), where populations are cheap and the measured norms are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.gmfg.exact_response import damped, picard
from descent.papers.gmfg.instances import (
    Instance,
    initial_intercepts,
    initial_slopes,
    instance,
    players_norm,
    slope_norm,
)
from descent.papers.gmfg.naive_slope import naive
from descent.papers.gmfg.oracles import outer_rate
from descent.papers.gmfg.policy_gradient import Policy, PopulationMethod, pg, single, unscaled, vanilla
from descent.toolbox.capture import captured

METHODS: dict[str, Callable[..., PopulationMethod]] = {
    "pg": pg,
    "vanilla": vanilla,
    "unscaled": unscaled,
    "picard": picard,
    "single": single,
    "damped": damped,
    "naive": naive,
}


def run(job: Job, context: Context) -> Records:
    records = Records()
    for _, group in groupby(sorted(job.variants, key=_program), key=_program):
        variants = list(group)
        # B6's slope feels the graphon: one at a time.
        for part in [[v] for v in variants] if variants[0].method == "naive" else [variants]:
            _together(part, context, records)
    return records


def _program(variant: Variant) -> str:
    """Variants that agree on this are one tensor program."""
    same = {name: value for name, value in variant.params.items() if name != "graphon"}
    return f"{variant.method} {sorted(same.items())} {variant.seeds}"


def method_of(variant: Variant, world: Instance) -> PopulationMethod:
    """The variant's method on its instance."""
    return METHODS[variant.method](world.game, world.players, **variant.own)


def _together(variants: Sequence[Variant], context: Context, records: Records) -> None:
    """Variants that differ in their graphon alone."""
    first, graphons = variants[0], [v.params["graphon"] for v in variants]
    p, seeds = first.params, first.seeds
    host = instance(context.streams, seeds, p, graphons)
    world = host.modes().to(context.device)
    K = initial_slopes(context.streams, seeds, p["intervals"]).to(context.device)
    G = initial_intercepts(context.streams, seeds, p["intervals"], p["players"]).expand(-1, -1, -1, len(graphons), -1)
    method = method_of(first, world)
    state = method.init(K, host.players.into(G).to(context.device))
    step = captured(method.update)
    coupling = f"-{p['coupling']}" if "coupling" in p else ""
    _, trace = iterate(
        context, f"{first.method}{coupling}-{'-'.join(graphons)}", state, lambda policy, _: step(policy),
        steps=p["updates"], block=max(1, min(p["updates"], 25)), measure=measure_of(world),
        at=range(p["updates"] + 1),
    )  # fmt: skip
    rates = outer_rate(host.game, host.players.values)
    for i, variant in enumerate(variants):
        rows = slice(i, None, len(graphons))  # rows run over seeds, graphons within
        records.add_trace(variant, trace, rows)
        records.add(variant, "rho", rates[i].repeat(len(seeds)))
        _arrivals(variant, trace, rows, p["tolerance"], method.gradient_steps, records)


def measure_of(world: Instance) -> Callable[[Policy], dict[str, Tensor]]:
    """Errors relative to the norms at the equilibrium, and |Z - Z*| itself: (S g,), seeds first."""
    game, best = world.game, world.equilibrium
    norms = slope_norm(game, best.K), players_norm(game, best.G), players_norm(game, best.Z)

    def measure(policy: Policy) -> dict[str, Tensor]:
        slope = slope_norm(game, policy.K - best.K) / norms[0]
        distance = players_norm(game, policy.Z - best.Z)
        return {
            "K_error": slope[:, None].expand_as(distance).flatten(),
            "G_error": (players_norm(game, policy.G - best.G) / norms[1]).flatten(),
            "Z_error": (distance / norms[2]).flatten(),
            "Z_distance": distance.flatten(),
        }

    return measure


def first_below(values: np.ndarray, tolerance: float) -> tuple[np.ndarray, list[str]]:
    """The first index at which each column of values (T, S) is below `tolerance`, and its status.

    Never: `censored` (infinite), or `diverged` where a value before is not finite.
    """
    arrived = values < tolerance
    first = arrived.argmax(0)
    never = ~arrived.any(0)
    broken = ~np.isfinite(values).all(0) & never
    status = np.where(broken, "diverged", np.where(never, "censored", "ok"))
    return np.where(broken, np.nan, np.where(never, np.inf, first)), status.tolist()


def _arrivals(variant: Variant, trace: Trace, rows: slice, tolerance: float, each: int, records: Records) -> None:
    count, status = first_below(trace.values["Z_error"][:, rows], tolerance)
    records.add(variant, "updates_needed", count, status=status)
    if each:
        records.add(variant, "gradient_steps_needed", each * count, status=status)
