"""Clients, their models as rows of one tensor, and the local run that every method shares.

A federation is one seed on one setting. F federations are trained at once: G grid values times S seeds, the seeds of the first
grid value first. Each has K clients, m of which take part in a round; a model is a row of d parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.papers.pfedsop.network import Network
from descent.papers.pfedsop.rounds import Round, Rounds
from descent.toolbox.capture import captured

ROWS = 40
"""Models that a CPU trains at once: few enough to stay in its cache for all T steps, enough to make the calls cheap."""


class Cost(NamedTuple):
    """What a run has cost so far, exactly; (F,) int64. Evaluation is not in it."""

    samples: Tensor  # sample-gradients
    sent: Tensor  # bytes of model-sized vectors, up and down


class Federation:
    """F federations. x (N, ...), y (N, ...): the pool that samples are numbers of; counts (S, K): train samples; start (S, d).

    rounds: the draws of the seeds. grid: G. local_step_size: the paper's eta2, one number or one a grid value.
    """

    def __init__(
        self,
        network: Network,
        x: Tensor,
        y: Tensor,
        counts: Tensor,
        start: Tensor,
        rounds: Rounds,
        *,
        grid: int = 1,
        local_step_size: float | Sequence[float] = 0.01,
    ):
        self.network, self.x, self.y, self.rounds, self.grid = network, x, y, rounds, grid
        self.seeds, self.clients = counts.shape
        self.members = rounds.participants
        self.size = self.seeds * grid
        self.counts = counts.to(start.dtype)
        self.start = self.spread(start).clone()  # (F, d)
        self.local_step_size = local_step_size
        self.lr = self.column(local_step_size)  # (F, 1, 1)
        self.first = (torch.arange(self.size) * self.clients)[:, None].to(x.device)  # (F, 1): row of each client 0
        self._run = captured(self._steps)

    def each(self, values: Any) -> list[Any]:
        """A setting of every grid value: `values` is one for all, or a sequence of G."""
        values = list(values) if isinstance(values, (list, tuple)) else [values] * self.grid
        if len(values) != self.grid:
            raise ValueError(f"a setting has {len(values)} values for a grid of {self.grid}")
        return values

    def column(self, values: float | Sequence[float]) -> Tensor:
        """(F, 1, 1) of a setting: one number, or one for each grid value."""
        full = torch.tensor(self.each(values), dtype=torch.float64).repeat_interleave(self.seeds)
        return full.to(self.x.device, self.start.dtype)[:, None, None]

    def spread(self, values: Tensor) -> Tensor:
        """(S, ...) -> (F, ...): the same for every grid value."""
        return values.repeat(self.grid, *[1] * (values.dim() - 1))

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """(F, *shape) on the federation's device."""
        return torch.zeros(self.size, *shape, dtype=dtype or self.start.dtype, device=self.start.device)

    def everyone(self) -> Tensor:
        """(F, K, d): the common start in every client's place."""
        return self.start[:, None].repeat(1, self.clients, 1)

    def rows(self, round: Round) -> Tensor:
        """(F m,): where the participants lie in (F K, ...)."""
        return (self.first + self.spread(round.clients)).flatten()

    def take(self, values: Tensor, rows: Tensor) -> Tensor:
        """(F, K, ...) -> (F, m, ...): the participants' own."""
        return values.flatten(0, 1).index_select(0, rows).unflatten(0, (self.size, self.members))

    def put_(self, values: Tensor, rows: Tensor, new: Tensor) -> Tensor:
        """The participants' own replaced by `new` (F, m, ...), in place: a copy of all clients a round would cost more
        than the round. Returns `values`."""
        values.flatten(0, 1).index_copy_(0, rows, new.flatten(0, 1))
        return values

    def shares(self, round: Round) -> Tensor:
        """(F, m, 1): n_i over the participants' sum, the weights of federated averaging."""
        own = self.counts.gather(1, round.clients)
        return self.spread(own / own.sum(1, keepdim=True))[..., None]

    def train(
        self,
        params: Tensor,
        index: Tensor,
        *,
        to: Tensor | None = None,
        pull: Tensor | None = None,
        part: str = "all",
    ) -> Tensor:
        """T steps of SGD with step size eta2 from params (F, n, d) on index (S, T, n, B), one minibatch a step.

        to (F, n, d) and pull (F, 1, 1): adds pull (params - to) to the gradient. part: all, head or body.
        """
        members = params.shape[1]
        rows = self.spread(index.transpose(1, 2)).flatten(0, 1)  # (F n, T, B)
        flat = [params.flatten(0, 1), rows, self.per_model(self.lr, members)]
        if to is not None:
            assert pull is not None, "it comes with `to`"
            flat += [to.flatten(0, 1), self.per_model(pull, members)]
        return self._run(*flat, part).unflatten(0, (self.size, members))

    def per_model(self, column: Tensor, members: int) -> Tensor:
        """(F, 1, 1) -> (F n, 1)."""
        return column.expand(-1, members, -1).flatten(0, 1)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The samples of index (R, B): x (R, B, ...), y (R, B, ...)."""
        flat = index.flatten()
        return (
            self.x.index_select(0, flat).unflatten(0, index.shape),
            self.y.index_select(0, flat).unflatten(0, index.shape),
        )

    def chunks(self, rows: int) -> list[slice]:
        """Parts in which a CPU goes through so many models; a GPU takes them at once."""
        parts = -(-rows // ROWS) if self.x.device.type == "cpu" else 1
        edges = [rows * i // parts for i in range(parts + 1)]
        return [slice(*pair) for pair in pairwise(edges)]

    def _steps(self, params: Tensor, index: Tensor, lr: Tensor, *rest: Any) -> Tensor:
        """params (R, d), index (R, T, B), lr (R, 1), [to (R, d), pull (R, 1)], part -> (R, d)."""
        *pulled, part = rest
        ends = []
        for own in self.chunks(params.shape[0]):
            model, step_size = self.network.opened(params[own]), lr[own]
            to, pull = (self.network.opened(pulled[0][own]), pulled[1][own]) if pulled else (None, None)
            for t in range(index.shape[1]):
                x, y = self.batch(index[own, t])
                self.network.descend_(model, x, y, step_size, to=to, pull=pull, part=part)
            ends.append(self.network.closed(model))
        return torch.cat(ends)

    def cost(self) -> Cost:
        """Nothing spent yet."""
        return Cost(self.zeros(dtype=torch.int64), self.zeros(dtype=torch.int64))

    def charge(self, cost: Cost, runs: int, numbers: int | Tensor, index: Tensor, extra: int | Tensor = 0) -> Cost:
        """`cost` after a round in which every participant made `runs` local runs on index (S, T, m, B), and `extra`
        sample-gradients came on top; numbers: parameters that each participant sent and received, in all."""
        _, steps, members, batch = index.shape
        return Cost(
            cost.samples + runs * steps * members * batch + extra,
            cost.sent + numbers * members * self.start.element_size(),
        )
