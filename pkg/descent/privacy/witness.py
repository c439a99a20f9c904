"""What a run's sampler and noise really did, held against the ledger that accounts for it.

A ledger is a promise. `Witness.see` looks at every block of random numbers as it is handed to the run, and `settle` says
whether they were what the ledger promises: as many steps, every record in with probability q, noise of unit variance, and
nothing used twice. Only counts and digests are kept, and none of them is recorded: they are as private as the batches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from descent.core.errors import SettingError
from descent.privacy.ledger import Ledger

SIGMAS = 7.0
"""Standard deviations by which a count may miss what is promised: by chance once in 10^11 looks."""

_RARE = 1e-9  # a repetition less probable than this is no chance


class Witness:
    """Looks on while one run draws. Seeds are separate runs of one program; each is held against the ledger.

    seeds: (S,). eligible: how many records each seed may draw, (S,) or one number for all; by default the ledger's.
    block: steps of a block, the last one may be shorter.
    """

    def __init__(self, ledger: Ledger, seeds: Sequence[int], block: int, eligible: np.ndarray | int | None = None):
        self.ledger, self.seeds, self.block = ledger, tuple(seeds), block
        self.eligible = np.broadcast_to(ledger.records if eligible is None else eligible, (len(self.seeds),))
        self.first: int | None = None
        self.steps = 0
        self.included = np.zeros(len(self.seeds))
        self.squares = np.zeros(len(self.seeds))
        self.numbers = 0  # standard normals a seed
        self.batches: list[list[bytes]] = [[] for _ in self.seeds]
        self.noises: list[bytes] = []
        self.faults: list[str] = []

    def see(self, k: int, index: np.ndarray, present: np.ndarray, normal: np.ndarray) -> None:
        """Block k: batches index (count, S, b) where present (count, S, b), standard normals (count, S) or (count, S, p)."""
        count = len(index)
        start = k * self.block
        if self.first is None:
            self.first = start
        if start != self.first + self.steps:
            self.faults.append(f"block {k} follows step {self.first + self.steps}")
        self.steps += count
        there = np.asarray(present) > 0
        self.included += there.sum((0, 2))
        flat = np.asarray(normal, dtype=np.float64).reshape(count, len(self.seeds), -1)
        self.squares += np.square(flat).sum((0, 2))
        self.numbers += count * flat.shape[2]
        for row in range(len(self.seeds)):
            self.batches[row] += [_digest(index[t, row][there[t, row]]) for t in range(count)]
            # A step's scalars may coincide by chance; a block of them does not.
            parts = flat[:, row] if flat.shape[2] > 3 else [flat[:, row]] if count > 3 else []
            self.noises += [_digest(part) for part in parts]

    def settle(self) -> None:
        """Raises SettingError, one sentence, where what was done is not what the ledger accounts for."""
        book, faults = self.ledger, list(self.faults)
        done = (self.first or 0) + self.steps
        if done != book.steps:
            faults.append(f"{done} steps were drawn where {book.steps} are accounted")
        for row, seed in enumerate(self.seeds):
            chances = float(self.eligible[row]) * self.steps
            spread = math.sqrt(chances * book.rate * (1 - book.rate))
            if abs(self.included[row] - chances * book.rate) > SIGMAS * spread + 0.5:
                rate = self.included[row] / max(chances, 1)
                faults.append(f"seed {seed} drew records at rate {rate:.6g} where {book.rate:.6g} is accounted")
            if self.numbers:
                mean = self.squares[row] / self.numbers
                # Chernoff: P[chi^2_n / n beyond r] <= exp(-n (r - 1 - ln r) / 2), on either side.
                if mean <= 0 or self.numbers * (mean - 1 - math.log(mean)) / 2 > -math.log(_RARE):
                    faults.append(f"the noise of seed {seed} has variance {mean:.4g} where 1 is accounted")
            alike = (book.rate**2 + (1 - book.rate) ** 2) ** float(self.eligible[row])
            found = self.batches[row]
            if alike * len(found) ** 2 < _RARE and len(set(found)) < len(found):
                faults.append(f"seed {seed} drew one batch twice")
        if len(set(self.noises)) < len(self.noises):
            faults.append("noise was used twice")
        if faults:
            raise SettingError(f"privacy: the run is not what its ledger accounts for: {'; '.join(faults[:3])}")


def _digest(values: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).digest()
