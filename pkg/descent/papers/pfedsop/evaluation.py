"""Accuracy of every client's model on that client's own test samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.papers.pfedsop.network import Network

MODELS = 64
"""Clients that are tested at once; those with similarly many samples together, since the others wait for the longest."""


class Bucket(NamedTuple):
    """Clients of similar size. n of them, L samples each, the rest of the row repeated and not counted."""

    rows: Tensor  # (n,) int64 among the S K clients
    index: Tensor  # (n, L) int64 samples # pyright: ignore[reportIncompatibleMethodOverride]: no positions are looked for
    counted: Tensor  # (n, L) bool


class Tests:
    """test: for each seed, the sample numbers of each client; x (N, ...) and labels (N,) the pool, on the host."""

    def __init__(
        self, test: Sequence[Sequence[np.ndarray]], x: Tensor, labels: Tensor, device: torch.device | str = "cpu"
    ):
        self.seeds, self.clients = len(test), len(test[0])
        flat = [own for seed in test for own in seed]
        self.x, self.labels = x.to(device), labels.to(device)
        self.sizes = torch.tensor([len(own) for own in flat], dtype=torch.float64).to(device)
        self.buckets: list[Bucket] = []
        order = np.argsort([-len(own) for own in flat], kind="stable")
        for first in range(0, len(order), MODELS):
            rows = order[first : first + MODELS]
            longest = max(len(flat[r]) for r in rows)
            index = np.stack([np.resize(flat[r], longest) for r in rows])
            counted = np.stack([np.arange(longest) < len(flat[r]) for r in rows])
            self.buckets.append(Bucket(*(torch.from_numpy(part).to(device) for part in (rows, index, counted))))

    def correct(self, network: Network, params: Tensor) -> Tensor:
        """(F, K) float64: test samples that each client's model gets right; params (F, K or 1, d), F a multiple of S."""
        grid = params.shape[0] // self.seeds
        models = params.expand(-1, self.clients, -1).unflatten(0, (grid, self.seeds))
        found = torch.empty(grid, self.seeds * self.clients, dtype=torch.float64, device=params.device)
        for bucket in self.buckets:
            x = self.x.index_select(0, bucket.index.flatten()).unflatten(0, bucket.index.shape)
            truth = self.labels.index_select(0, bucket.index.flatten()).unflatten(0, bucket.index.shape)
            seed = torch.div(bucket.rows, self.clients, rounding_mode="floor")
            client = torch.remainder(bucket.rows, self.clients)
            for g in range(grid):
                guess = network.logits(models[g][seed, client], x).argmax(-1)
                found[g].index_copy_(0, bucket.rows, ((guess == truth) & bucket.counted).sum(1).to(torch.float64))
        return found.view(grid * self.seeds, self.clients)

    def accuracies(self, network: Network, params: Tensor) -> dict[str, Tensor]:
        """accuracy (all test samples alike), client_mean (all clients alike), client_low (10th percentile); (F,) each.

        NaN where a model is not finite: a diverged federation has no accuracy.
        """
        right, sizes = self.correct(network, params), self.sizes.view(self.seeds, self.clients)
        sizes = sizes.repeat(params.shape[0] // self.seeds, 1)
        each = right / sizes
        low = each.sort(1).values
        at = 0.1 * (self.clients - 1)
        below = int(at)
        above = min(below + 1, self.clients - 1)
        found = {
            "accuracy": right.sum(1) / sizes.sum(1),
            "client_mean": each.mean(1),
            "client_low": low[:, below] + (at - below) * (low[:, above] - low[:, below]),
        }
        whole = params.isfinite().flatten(1).all(1)
        return {name: torch.where(whole, value, torch.nan) for name, value in found.items()}
