"""Who takes part in a round, and on which minibatches: drawn on the host, shared by all methods of a seed.

Keys are the seed, the world's name and the round, so a round's numbers depend on nothing else, and a resumed run asks for them
again. Slot 0 is every method's local run; slot 1 the second run of the methods that have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.streams import Streams


class Round(NamedTuple):
    """One round of every seed, or several with a leading axis. S seeds, m participants, T steps, B samples."""

    clients: Tensor  # (S, m) int64
    index: Tensor  # (S, T, m, B) int32: samples of slot 0 # pyright: ignore[reportIncompatibleMethodOverride]
    extra: Tensor | None = None  # (S, T, m, B) int32: samples of slot 1
    tuning: Tensor | None = None  # (S, T, K, B) int32: samples of every client, to fine-tune on before an evaluation


def minibatches(rng: np.random.Generator, samples: np.ndarray, steps: int, batch: int) -> np.ndarray:
    """(steps, batch) sample numbers: shuffles of the client's samples, the rest of each dropped, until there are enough.

    A client with fewer samples than a batch draws its batches with replacement.
    """
    each = len(samples) // batch
    if each == 0:
        return rng.choice(samples, (steps, batch))
    shuffles = np.tile(samples, (-(-steps // each), 1))
    rng.permuted(shuffles, axis=1, out=shuffles)
    return shuffles[:, : each * batch].reshape(-1, batch)[:steps]


class Rounds:
    """The draws of one world. train: for each seed, the train samples of each client; name: keys the world's streams."""

    def __init__(
        self,
        streams: Streams,
        name: str,
        seeds: Sequence[int],
        train: Sequence[Sequence[np.ndarray]],
        *,
        rounds: int,
        participants: int,
        local_steps: int,
        batch: int,
    ):
        self.streams, self.name, self.seeds, self.train = streams, name, tuple(seeds), train
        self.rounds, self.participants, self.local_steps, self.batch = rounds, participants, local_steps, batch
        everyone = [np.tile(np.arange(len(own)), (rounds, 1)) for own in train]
        self.clients = np.stack(
            [
                streams.numpy("participation", seed, name).permuted(table, axis=1)[:, :participants]
                for seed, table in zip(self.seeds, everyone, strict=True)
            ],
            axis=1,
        )  # (rounds, S, m)
        self._drawn: dict[tuple[int, str], Tensor] = {}

    def draw(self, k: int, count: int, *, extra: bool = False, tuning: Sequence[int] = ()) -> Round:
        """Round k alone, with a leading axis of 1 (`iterate` with blocks of one round).

        extra: slot 1 as well. tuning: numbers of the rounds (from 1) after which every client's samples are wanted too.
        """
        if count != 1:
            raise ValueError(f"Rounds.draw: one round at a time, got {count}")
        clients = self.clients[k]
        return Round(
            torch.from_numpy(clients)[None],
            self._slot(k, "main", clients),
            self._slot(k, "extra", clients) if extra else None,
            self._slot(k, "tuning", None) if k + 1 in tuning else None,
        )

    def _slot(self, k: int, slot: str, clients: np.ndarray | None) -> Tensor:
        """(1, S, T, m or K, B), kept: every method of a job asks for the same."""
        if (k, slot) not in self._drawn:
            tables = []
            for s, seed in enumerate(self.seeds):
                rng = self.streams.numpy("minibatches", seed, self.name, slot, k)
                chosen = range(len(self.train[s])) if clients is None else clients[s]
                tables.append([minibatches(rng, self.train[s][i], self.local_steps, self.batch) for i in chosen])
            table = np.asarray(tables, dtype=np.int32).swapaxes(1, 2)
            self._drawn[k, slot] = torch.from_numpy(np.ascontiguousarray(table))[None]
        return self._drawn[k, slot]
