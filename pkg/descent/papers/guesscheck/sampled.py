"""Guess & Check and its prior on the tasks of some seeds: from the settings of a card to what `iterate` runs and is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate
from descent.core.job import Variant
from descent.core.method import Method, Nothing
from descent.core.records import Records
from descent.core.streams import Streams
from descent.papers.guesscheck import guessing, importance, subset
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.posterior import Posterior, defined
from descent.papers.guesscheck.problem import Task

GUESSES_A_BLOCK = 2**15  # of one seed, drawn and handed over at once
ALWAYS = ("accepted", "guesses", "effective_size")  # what is known also of an estimate that is undefined


class Run(NamedTuple):
    """What a builder makes of a card's settings: a method from its start to its last step, and what is measured at `at`."""

    method: Method
    start: Any
    steps: int
    block: int
    measure: Callable[[Any, Any], dict[str, Tensor]]
    at: Sequence[int]
    finished: Callable[[Any], Tensor] | None = None

    def trace(self, context: Context, name: str) -> Trace:
        """The run, made."""
        _, trace = iterate(
            context, name, self.start, self.method, steps=self.steps, block=self.block, measure=self.measure, at=self.at,
            finished=self.finished,
        )  # fmt: skip
        return trace


def network_of(params: Mapping[str, Any]) -> Network:
    """The factorisation of a variant, 5 x 5."""
    return Network(5, 5, params["depth"], params["width"], params["activation"], params["prior"], params["normalised"])


def record_guess_check(variant: Variant, task: Task, context: Context, records: Records) -> None:
    """Run the variant's sampler and record its estimates; undefined where too few independent guesses stand behind."""
    run = guess_check(task, network_of(variant.params), context.streams, variant.seeds, **variant.own)
    trace = run.trace(context, variant.key)
    values = {metric: trace.last(metric) for metric in trace.values}
    enough = torch.from_numpy(values.pop("defined")) > 0
    for metric, value in values.items():
        known = torch.ones_like(enough) if metric in ALWAYS else enough
        number = torch.where(known, torch.from_numpy(value), torch.nan)
        status = [("ok" if fine else "undefined") for fine in (known & number.isfinite()).tolist()]
        records.add(variant, metric, number, status=status)


def record_prior(variants: Sequence[Variant], task: Task, context: Context, records: Records) -> None:
    """The mean test loss of guesses that nothing selects. variants: that differ in activation: they share their draws."""
    first, networks = variants[0], [network_of(v.params) for v in variants]
    trace = prior(task, networks, context.streams, first.seeds, **first.own).trace(context, first.key)
    for metric in trace.values:
        for i, variant in enumerate(variants):
            records.add(variant, metric, trace.last(metric)[i * len(first.seeds) : (i + 1) * len(first.seeds)])


def guess_check(
    task: Task, network: Network, streams: Streams, seeds: Sequence[int], *, sampler: str, least: float, tolerance: float,
    guesses: int, batch: int, noise: str, fan_out: int, draws: int, pilot: int, chains: int, replicates: int, share: float,
    sweeps: int, proposals: int, burn_in: int, kept: int, thin: int, rounds: int,
) -> Run:  # fmt: skip
    """Guess & Check on the seeds' tasks (float64) by one of three samplers, each of which takes its own of the settings:

    literal: guesses, batch, noise, fan_out. importance: draws, batch, pilot. subset: chains to rounds. least: the
    effective size below which the estimate counts as undefined. Measured once, after the last step.
    """
    single = _single(task)
    if sampler == "literal":
        method = guessing.guessing(
            single, network, streams, seeds, tolerance=tolerance, batch=batch, fan_out=fan_out, noise=noise
        )
        made = max(1, batch // fan_out) * fan_out
        steps = -(-guesses // made)

        def hits(state: guessing.State, info: guessing.Info) -> dict[str, Tensor]:
            return {**_numbers(guessing.posterior(state), least), "guesses": state.guesses}

        return Run(method, method.init(), steps, _block(made), hits, [steps])
    if sampler == "importance":
        batch = min(batch, draws)
        method = importance.importance(task, network, streams, seeds, tolerance=tolerance, batch=batch, pilot=pilot)
        steps = -(-draws // batch)

        def weighted(state: importance.State, info: importance.Info) -> dict[str, Tensor]:
            return {**_numbers(importance.posterior(state), least), "guesses": state.draws}

        return Run(method, method.init(), steps, 1, weighted, [steps])
    method = subset.subset(
        single, network, streams, seeds, tolerance=tolerance, chains=chains, replicates=replicates, share=share,
        sweeps=sweeps, proposals=proposals, burn_in=burn_in, kept=kept, thin=thin,
    )  # fmt: skip

    def moved(state: subset.State, info: subset.Info) -> dict[str, Tensor]:
        found, top = subset.posterior(state, chains=chains, records=kept * (sweeps // thin))
        there = subset.finished(state, burn_in=burn_in, kept=kept).all(1)
        numbers = _numbers(found, least)
        tried = chains * (1 + state.rounds * sweeps * proposals)
        return {
            **numbers,
            "defined": numbers["defined"] * there,
            "accepted": torch.where(there, numbers["accepted"], 0.0),
            "effective_size": torch.where(there, numbers["effective_size"], 0.0),
            "guesses": tried.sum(1),
            "top_share": top,
        }

    return Run(
        method,
        method.init(),
        rounds,
        1,
        moved,
        [rounds],
        lambda state: subset.finished(state, burn_in=burn_in, kept=kept),
    )


def prior(
    task: Task, networks: Sequence[Network], streams: Streams, seeds: Sequence[int], *, guesses: int, batch: int, noise: str
) -> Run:  # fmt: skip
    """Guesses that nothing selects, of networks that share their draws (they differ in activation): rows run over networks,
    seeds within.
    """
    batch = min(batch, guesses)
    steps, single = -(-guesses // batch), _single(task)
    methods = [
        guessing.guessing(single, network, streams, seeds, tolerance=1.0, batch=batch, noise=noise)
        for network in networks
    ]

    def step(states: tuple[guessing.State, ...], noise: guessing.Noise) -> tuple[tuple[guessing.State, ...], Nothing]:
        return tuple(m.update(state, noise) for m, state in zip(methods, states, strict=True)), Nothing()

    def measure(states: tuple[guessing.State, ...], info: Nothing) -> dict[str, Tensor]:
        rows = [(*guessing.prior(state, prefixes=steps * batch), state.guesses) for state in states]
        names = ("error", "standard_error", "guesses")
        return {name: torch.cat(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}

    method = Method(lambda: tuple(m.init() for m in methods), step, methods[0].draw)
    return Run(method, method.init(), steps, _block(batch), measure, [steps])


def _numbers(found: Posterior, least: float) -> dict[str, Tensor]:
    """The recorded fields of an estimate, and whether enough stands behind them."""
    names = ("error", "standard_error", "accepted", "log10_acceptance", "effective_size")
    numbers = {name: getattr(found, name).double() for name in names}
    return {**numbers, "defined": defined(found, least).double()}


def _block(batch: int) -> int:
    return max(1, GUESSES_A_BLOCK // batch)


def _single(task: Task) -> Task:
    return Task(*(x.float() for x in task))
