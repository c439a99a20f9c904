"""Are the dynamics alike? DSA and spectra between networks trained by BPTT and by e-prop, at equal error (E7).

A row belongs to two seeds: `seed` numbers one network, `step` the other. Under method bptt both were trained by BPTT, under eprop
the one by e-prop, the other (`step`) by BPTT; never of the same seed, which would share its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.eprop.alignment import dynamical_distance, linear_dynamics, spectrum_distance
from descent.papers.eprop.reach_task import DIRECTIONS

MAPPED = 4
"""Seeds of each method and gain on the map."""


def run(job: Job, context: Context) -> Records:
    records = Records()
    by_method = {variant.method: variant for variant in job.variants}
    trained = context.needs["trained"].arrays
    A = {
        method: dynamics_of(trained[f"activity_{method}"][: len(variant.seeds)], variant)
        for method, variant in by_method.items()
    }
    first = next(iter(by_method.values()))
    for method, variant in by_method.items():
        pairs = [(i, j) for i in range(len(variant.seeds)) for j in range(len(variant.seeds)) if i != j]
        _record(records, variant, pairs, A[method], A["bptt"], symmetric=method == "bptt")
    same = [(i, i) for i in range(len(first.seeds))]
    if "eprop" in A:
        found = distances(A["eprop"], A["bptt"], same, first.params["alignment_steps"])
        records.add(
            by_method["eprop"],
            "dynamics_of_one_start",
            found["dynamics_to_bptt"],
            status=_status(found["dynamics_to_bptt"]),
        )
    _map(records, trained | dict(context.needs["gains"].arrays), first)  # pyright: ignore[reportOperatorIssue]: a dict
    return records


def dynamics_of(scores: np.ndarray, variant: Variant) -> Tensor:
    """(S, r, r) linear dynamics of activity (S, 8 W, c); NaN where a network never reached theta."""
    p = variant.params
    x = torch.as_tensor(scores).double().unflatten(1, (DIRECTIONS, -1))
    sound = x.isfinite().all(-1).all(-1).all(-1)
    rank = min(p["rank"], x.shape[-1] * p["delays"])
    filled = torch.where(
        sound[:, None, None, None], x, torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0)).double()
    )
    A = linear_dynamics(filled, delays=p["delays"], rank=rank)
    return torch.where(sound[:, None, None], A, torch.nan)


def distances(A: Tensor, B: Tensor, pairs: Sequence[tuple[int, int]], steps: int) -> Mapping[str, Tensor]:
    """(pairs,) DSA and matched eigenvalues of A[i] and B[j]; NaN where one of them is."""
    i, j = (torch.tensor(side) for side in zip(*pairs, strict=True))
    sound = (A[i] * B[j]).isfinite().all(-1).all(-1)
    found = {
        name: torch.full((len(pairs),), torch.nan, dtype=A.dtype) for name in ("dynamics_to_bptt", "spectrum_to_bptt")
    }
    if sound.any():
        one, two = A[i][sound], B[j][sound]
        found["dynamics_to_bptt"][sound] = dynamical_distance(one, two, steps=steps)
        found["spectrum_to_bptt"][sound] = spectrum_distance(one, two)
    return found


def _record(
    records: Records, variant: Variant, pairs: Sequence[tuple[int, int]], A: Tensor, B: Tensor, *, symmetric: bool
) -> None:
    """A row a pair. symmetric: A is B, a pair is searched once and stands in two rows."""
    once = [(i, j) for i, j in pairs if i < j] if symmetric else list(pairs)
    found = distances(A, B, once, variant.params["alignment_steps"])
    at = {pair: n for n, pair in enumerate(once)}
    for j in sorted({j for _, j in pairs}):
        first = [i for i, other in pairs if other == j]
        own = [at[tuple(sorted((i, j))) if symmetric else (i, j)] for i in first]  # pyright: ignore[reportArgumentType]: of two
        seeds = [variant.seeds[i] for i in first]
        for metric, values in found.items():
            records.add(variant, metric, values[own], step=variant.seeds[j], seeds=seeds, status=_status(values[own]))


def _status(values: Tensor) -> list[str]:
    return ["ok" if ok else "undefined" for ok in values.isfinite().tolist()]


def _map(records: Records, arrays: Mapping[str, np.ndarray], variant: Variant) -> None:
    """All pairs of a few networks of every method and gain: `map_distances`, `map_networks` (names, in order)."""
    names = sorted(name for name in arrays if name.startswith("activity_"))
    A = torch.cat([dynamics_of(arrays[name][:MAPPED], variant) for name in names])
    labels = [name.removeprefix("activity_") for name in names for _ in range(len(arrays[name][:MAPPED]))]
    pairs = [(i, j) for i in range(len(A)) for j in range(i)]
    found = distances(A, A, pairs, variant.params["alignment_steps"])["dynamics_to_bptt"].numpy()
    table = np.zeros((len(A), len(A)))
    for (i, j), value in zip(pairs, found, strict=True):
        table[i, j] = table[j, i] = value
    records.array("map_distances", table)
    records.array("map_networks", np.array(labels))
