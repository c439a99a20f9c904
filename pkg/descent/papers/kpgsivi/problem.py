"""What every method here is given: a target, the family that is fitted to it, and whose random numbers drive it.

Rows R are seeds; where several settings of one shape share a program, settings x seeds, seeds fastest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.targets import Target


@dataclass(frozen=True)
class Problem:
    """target: log p and its score; family: what is fitted; seeds: (S,) numbers of the streams, in rows copies x seeds.

    start: parameters (R, P) on the device. Methods share the streams `points` (latent and noise of the points at which the
    gradient is taken) and `auxiliary` (of the independent second sample), which pairs them.
    """

    target: Target
    family: Family
    seeds: tuple[int, ...]
    streams: Streams
    copies: int = 1
    dtype: torch.dtype = torch.float32

    def normals(self, purpose: str, k: int, count: int, *shape: int) -> Tensor:
        """Standard normals (count, R, *shape) for the steps of block k, on the host."""
        drawn = self.streams.normal(purpose, self.seeds, (count, *shape), k, dtype=self.dtype)
        return self._rows(drawn)

    def uniforms(self, purpose: str, k: int, count: int, *shape: int) -> Tensor:
        """Uniforms in [0, 1) (count, R, *shape), on the host."""
        drawn = torch.empty((len(self.seeds), count, *shape), dtype=self.dtype)
        for row, seed in zip(drawn, self.seeds, strict=True):
            torch.rand(row.shape, generator=self.streams.torch(purpose, seed, k), out=row)
        return self._rows(drawn)

    def start(self, log_variance: float) -> Tensor:
        """Parameters (R, P) of PyTorch's default start, a seed's the same for all methods; on the host."""
        size = (self.family.network.size,)
        drawn = [torch.rand(size, generator=self.streams.torch("start", s), dtype=self.dtype) for s in self.seeds]
        return self.family.start(torch.stack(drawn), log_variance).repeat(self.copies, 1)

    def _rows(self, drawn: Tensor) -> Tensor:
        return drawn.transpose(0, 1).repeat(1, self.copies, *[1] * (drawn.ndim - 2)).contiguous()


def expect_problem(method: str, problem: object) -> None:
    """Raise SettingError if a builder is handed something else than a Problem."""
    if not isinstance(problem, Problem):
        raise SettingError(
            f"{method}: wants a kpgsivi Problem, got {type(problem).__name__}; for a log density of your own use kpgsivi.fit"
        )
