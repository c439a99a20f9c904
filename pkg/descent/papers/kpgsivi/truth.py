"""Ground truth where there is no exact sampler: long Hamiltonian Monte Carlo, many chains side by side.

States at evenly spaced transitions of the second half of every chain are kept. The first half of the chains is what methods are
compared with; the second half stands in for a perfect method's sample and gives the floor of every distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context, Need
from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.core.streams import Streams
from descent.papers.kpgsivi.fitting import target_of
from descent.papers.kpgsivi.hmc import transition
from descent.papers.kpgsivi.measures import predictive_log_likelihood
from descent.papers.kpgsivi.targets import Target


class State(NamedTuple):
    position: Tensor  # (S, chains, d)
    accepted: Tensor  # (S,) mean acceptance, summed over the transitions so far


class Noise(NamedTuple):
    momentum: Tensor  # (S, chains, d)
    coins: Tensor  # (S, chains)


class Info(NamedTuple):
    accepted: Tensor  # (S,) share of the chains


def hmc(target: Target, streams: Streams, seeds: tuple[int, ...], *, chains: int, leapfrog: int, step: float) -> Method:
    """Chains of one target for every seed."""
    shape = (len(seeds), chains, target.dim)

    def energy(z: Tensor) -> tuple[Tensor, Tensor]:
        return -target.log_prob(z), -target.score(z)

    def init(position: Tensor) -> State:
        return State(position, position.new_zeros(shape[0]))

    def advance(state: State, noise: Noise) -> tuple[State, Info]:
        position, accepted = transition(energy, state.position, noise.momentum, noise.coins, leapfrog, step)
        share = accepted.to(position.dtype).mean(-1)
        return State(position, state.accepted + share), Info(share)

    def draw(k: int, count: int) -> Noise:
        momentum = streams.normal("momenta of the truth", seeds, (count, chains, target.dim), k, dtype=torch.float32)
        coins = [torch.rand((count, chains), generator=streams.torch("coins of the truth", s, k)) for s in seeds]
        return Noise(momentum.transpose(0, 1).contiguous(), torch.stack(coins, dim=1))

    return Method(init, advance, draw)


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        p, seeds, target = variant.params, variant.seeds, target_of(variant.params, context)
        method = hmc(
            target, context.streams, seeds, chains=p["chains"], leapfrog=p["truth_leapfrog"], step=p["truth_step"]
        )
        start = context.streams.normal("start of the truth", seeds, (p["chains"], target.dim), dtype=torch.float32)
        state, kept, done = method.init((p["centre"] + p["spread"] * start).to(context.device)), [], 0
        half = p["transitions"] // 2
        for i in range(p["snapshots"]):
            until = half + (p["transitions"] - half) * (i + 1) // p["snapshots"]
            state, _ = iterate(
                context, f"{variant.key} {i}", state, method, steps=until - done, block=10,
                draw=lambda k, count, i=i, method=method: method.draw(k + 1000 * i, count),  # pyright: ignore[reportOptionalCall]: HMC draws
            )  # fmt: skip
            kept.append(state.position)
            done = until
        states = torch.stack(kept, dim=1)  # (S, snapshots, chains, d)
        records.add(variant, "acceptance", state.accepted / done, step=done)
        records.array(f"states {p['target']}", states[0])
        pool = states.flatten(1, 2)
        records.add(variant, "first_mean", pool[..., 0].mean(-1), step=done)
        records.add(variant, "first_deviation", pool[..., 0].std(-1), step=done)
        if p["target"] == "logistic":
            features, labels = tested(context)
            some = pool[:, :: max(1, pool.shape[1] // 2000)]
            records.add(variant, "log_likelihood", predictive_log_likelihood(some, features, labels), step=done)
            right = (torch.sigmoid(some @ features.T).mean(1) > 0.5) == (labels > 0.5)
            records.add(variant, "accuracy", right.to(some.dtype).mean(-1), step=done)
    return records


def tested(context: Context) -> tuple[Tensor, Tensor]:
    """Test features (n, d) and labels (n,) of the logistic regression."""
    data = context.data["waveform"]
    arrays = (torch.tensor(np.asarray(data[f"test_{part}"]), dtype=torch.float32) for part in ("features", "labels"))
    return tuple(x.to(context.device) for x in arrays)  # type: ignore[return-value]


class Truth(NamedTuple):
    """What a seed's methods are compared with."""

    sample: Tensor  # (S, n, d) of the first half of the chains
    floor: Tensor  # (S, n, d) of the second half
    pool: Tensor  # (N, d) all states of the first half


def truth_of(variant: Variant, need: Need, streams: Streams, device: torch.device, n: int) -> Truth:
    """Subsets of n states for every seed, drawn without replacement."""
    states = need.arrays[f"states {variant.params['target']}"]  # (snapshots, chains, d)
    half = states.shape[1] // 2
    pools = states[:, :half].reshape(-1, states.shape[-1]), states[:, half:].reshape(-1, states.shape[-1])
    chosen = []
    for purpose, pool in zip(("truth", "floor"), pools, strict=True):
        picks = [streams.numpy(f"{purpose} subset", s).permutation(len(pool))[:n] for s in variant.seeds]
        chosen.append(torch.from_numpy(np.stack([pool[pick] for pick in picks])).to(device))
    sample, floor = chosen
    return Truth(sample, floor, torch.from_numpy(pools[0].copy()).to(device))


def size_of(params: Mapping[str, Any], need: Need) -> int:
    """Points of a comparison: `evaluated`, or all that half of the chains have."""
    states = need.arrays[f"states {params['target']}"]
    return min(params["evaluated"], states.shape[0] * (states.shape[1] // 2))
