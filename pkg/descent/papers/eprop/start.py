"""The random numbers of a seed's initial weights: rules and settings of one seed share them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from descent.core.streams import Streams
from descent.papers.eprop.network import Seeds


def start_numbers(
    streams: Streams, seeds: Sequence[int], units: int, inputs: int, outputs: int, dtype: torch.dtype = torch.float32
) -> Seeds:
    """(S, ...) on the host, each seed's from its own streams."""
    normal = lambda purpose, *shape: streams.normal(purpose, seeds, shape, dtype=torch.float32).to(dtype)  # noqa: E731
    uniform = lambda purpose, *shape: torch.stack(  # noqa: E731
        [torch.rand(shape, generator=streams.torch(purpose, seed), dtype=torch.float32) for seed in seeds]
    ).to(dtype)
    N = units
    return Seeds(
        normal("recurrent", N, N), normal("input", N, inputs), uniform("readout", outputs, N),
        uniform("feedback", outputs, N), uniform("synapses", N, N),
    )  # fmt: skip
