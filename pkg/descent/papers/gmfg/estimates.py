"""E5: the model-free version, all noise levels and seeds in one batch, its errors after every outer iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.method import Nothing
from descent.core.records import Records
from descent.papers.gmfg.instances import (
    Instance,
    game_of,
    initial_intercepts,
    initial_slopes,
    instance,
    players_norm,
    slope_norm,
)
from descent.papers.gmfg.model_free import Sampled, keys, on_device, sampled, simulated_population, world


def run(job: Job, context: Context) -> Records:
    records = Records()
    for _, group in groupby(sorted(job.variants, key=_program), key=_program):
        _together(list(group), context, records)
    return records


def _program(variant: Variant) -> str:
    """Noise levels share a program and its random numbers."""
    same = {name: value for name, value in variant.params.items() if name != "noise"}
    return f"{variant.method} {sorted(same.items())} {variant.seeds}"


def _together(variants: Sequence[Variant], context: Context, records: Records) -> None:
    first, V = variants[0], len(variants)
    p, seeds, device = first.params, first.seeds, context.device
    host = instance(context.streams, seeds, p, [p["graphon"]])  # no noise level moves the equilibrium
    levels = game_of(p, noise=torch.tensor([v.params["noise"] for v in variants], dtype=torch.float64))
    simulated = on_device(world(levels, host.players.kernel[0], host.players.start[:, :, 0]), device)
    K = initial_slopes(context.streams, seeds, p["intervals"])
    G = initial_intercepts(context.streams, seeds, p["intervals"], p["players"])[..., 0, :]
    K, G = _wide(K, V).to(device), _wide(G, V).to(device)
    Z = simulated_population(simulated, K, G, keys(context.streams, seeds, "start").to(device), p["particles"])
    method = sampled(simulated, **first.own).seeded(context.streams, seeds)
    _, trace = iterate(
        context, f"sampled-{p['particles']}", method.init(K, G, Z), method,
        steps=p["updates"], block=1, measure=measure_of(host.to(device)), at=range(1, p["updates"] + 1),
    )  # fmt: skip
    for i, variant in enumerate(variants):
        records.add_trace(variant, trace, slice(i * len(seeds), (i + 1) * len(seeds)))


def _wide(x: Tensor, V: int) -> Tensor:
    """The same start for every noise level."""
    return x.expand(V, *x.shape).contiguous()


def measure_of(host: Instance) -> Callable[[Sampled, Nothing], dict[str, Tensor]]:
    """Relative errors, (V S,), noise levels first."""
    game, best = host.game, host.equilibrium
    K, G, Z = best.K, best.G[..., 0, :], best.Z[..., 0, :]
    flat = lambda x: x[..., None, :].flatten(0, 1)  # noqa: E731  (V, S, ...) -> rows, with an axis for the graphon
    norms = slope_norm(game, K), players_norm(game, G[..., None, :]), players_norm(game, Z[..., None, :])

    def measure(state: Sampled, _: Nothing) -> dict[str, Tensor]:
        V = len(state.K)
        return {
            "K_error": slope_norm(game, (state.K - K).flatten(0, 1)) / norms[0],
            "G_error": players_norm(game, flat(state.G - G))[:, 0] / norms[1][:, 0].repeat(V),
            "Z_error": players_norm(game, flat(state.Z - Z))[:, 0] / norms[2][:, 0].repeat(V),
        }

    return measure
