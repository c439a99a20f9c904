"""One configuration of Guess & Check, sampled: from a variant's settings to the numbers that are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate
from descent.core.job import Variant
from descent.core.records import Records
from descent.papers.guesscheck import guessing, importance, subset
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.posterior import Posterior, defined
from descent.papers.guesscheck.problem import Task

GUESSES_A_BLOCK = 2**15  # of one seed, drawn and handed over at once
ALWAYS = ("accepted", "guesses", "effective_size")  # what is known also of an estimate that is undefined


def network_of(params: Mapping[str, Any]) -> Network:
    """The factorisation of a variant, 5 x 5."""
    return Network(5, 5, params["depth"], params["width"], params["activation"], params["prior"], params["normalised"])


def record_guess_check(variant: Variant, task: Task, context: Context, records: Records) -> None:
    """Run the variant's sampler and record its estimates; undefined where too few independent guesses stand behind."""
    run = {"literal": _literal, "importance": _importance, "subset": _subset}[variant.params["sampler"]]
    values = run(variant, task, context)
    enough = torch.from_numpy(values.pop("defined")) > 0
    for metric, value in values.items():
        known = torch.ones_like(enough) if metric in ALWAYS else enough
        number = torch.where(known, torch.from_numpy(value), torch.nan)
        status = [("ok" if fine else "undefined") for fine in (known & number.isfinite()).tolist()]
        records.add(variant, metric, number, status=status)


def record_prior(variants: Sequence[Variant], task: Task, context: Context, records: Records) -> None:
    """The mean test loss of guesses that nothing selects. variants: that differ in activation: they share their draws."""
    p, seeds = variants[0].own, variants[0].seeds
    batch = min(p["batch"], p["guesses"])
    steps = -(-p["guesses"] // batch)
    methods = [
        guessing.guessing(
            _single(task), network_of(v.params), context.streams, seeds, tolerance=1.0, batch=batch, noise=p["noise"]
        )
        for v in variants
    ]

    def step(states: tuple[guessing.State, ...], noise: guessing.Noise) -> tuple[guessing.State, ...]:
        return tuple(method.update(state, noise) for method, state in zip(methods, states, strict=True))

    def measure(states: tuple[guessing.State, ...]) -> dict[str, Tensor]:
        rows = [(*guessing.prior(state, prefixes=steps * batch), state.guesses) for state in states]
        names = ("error", "standard_error", "guesses")
        return {name: torch.cat(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}

    _, trace = iterate(
        context, variants[0].key, tuple(method.init() for method in methods), step, steps=steps, block=_block(batch),
        draw=methods[0].draw, measure=measure, at=[steps],
    )  # fmt: skip
    for metric in trace.values:
        for i, variant in enumerate(variants):
            records.add(variant, metric, trace.last(metric)[i * len(seeds) : (i + 1) * len(seeds)])


def _literal(variant: Variant, task: Task, context: Context) -> dict[str, Any]:
    p = variant.own
    method = guessing.guessing(
        _single(task), network_of(variant.params), context.streams, variant.seeds, tolerance=p["tolerance"],
        batch=p["batch"], fan_out=p["fan_out"], noise=p["noise"],
    )  # fmt: skip
    made = max(1, p["batch"] // p["fan_out"]) * p["fan_out"]
    steps = -(-p["guesses"] // made)

    def measure(state: guessing.State, info: guessing.Info) -> dict[str, Tensor]:
        return {**_numbers(guessing.posterior(state), p["least"]), "guesses": state.guesses}

    _, trace = iterate(
        context, variant.key, method.init(), method, steps=steps, block=_block(made), measure=measure, at=[steps]
    )
    return {metric: trace.last(metric) for metric in trace.values}


def _importance(variant: Variant, task: Task, context: Context) -> dict[str, Any]:
    p = variant.own
    batch = min(p["batch"], p["draws"])
    steps = -(-p["draws"] // batch)
    method = importance.importance(
        task, network_of(variant.params), context.streams, variant.seeds, tolerance=p["tolerance"], batch=batch,
        pilot=p["pilot"],
    )  # fmt: skip

    def measure(state: importance.State, info: importance.Info) -> dict[str, Tensor]:
        return {**_numbers(importance.posterior(state), p["least"]), "guesses": state.draws}

    _, trace = iterate(context, variant.key, method.init(), method, steps=steps, block=1, measure=measure, at=[steps])
    return {metric: trace.last(metric) for metric in trace.values}


def _subset(variant: Variant, task: Task, context: Context) -> dict[str, Any]:
    p = variant.own
    names = ("chains", "replicates", "share", "sweeps", "proposals", "burn_in", "kept", "thin")
    method = subset.subset(
        _single(task), network_of(variant.params), context.streams, variant.seeds, tolerance=p["tolerance"],
        **{name: p[name] for name in names},
    )  # fmt: skip
    times = {name: p[name] for name in ("burn_in", "kept")}

    def measure(state: subset.State, info: subset.Info) -> dict[str, Tensor]:
        found, share = subset.posterior(state, chains=p["chains"], records=p["kept"] * (p["sweeps"] // p["thin"]))
        there = subset.finished(state, **times).all(1)
        numbers = _numbers(found, p["least"])
        tried = p["chains"] * (1 + state.rounds * p["sweeps"] * p["proposals"])
        return {
            **numbers,
            "defined": numbers["defined"] * there,
            "accepted": torch.where(there, numbers["accepted"], 0.0),
            "effective_size": torch.where(there, numbers["effective_size"], 0.0),
            "guesses": tried.sum(1),
            "top_share": share,
        }

    _, trace = iterate(
        context, variant.key, method.init(), method, steps=p["rounds"], block=1, measure=measure, at=[p["rounds"]],
        finished=lambda state: subset.finished(state, **times),
    )  # fmt: skip
    return {metric: trace.last(metric) for metric in trace.values}


def _numbers(found: Posterior, least: float) -> dict[str, Tensor]:
    """The recorded fields of an estimate, and whether enough stands behind them."""
    names = ("error", "standard_error", "accepted", "log10_acceptance", "effective_size")
    numbers = {name: getattr(found, name).double() for name in names}
    return {**numbers, "defined": defined(found, least).double()}


def _block(batch: int) -> int:
    return max(1, GUESSES_A_BLOCK // batch)


def _single(task: Task) -> Task:
    return Task(*(x.float() for x in task))
