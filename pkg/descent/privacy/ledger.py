"""What a private run spends, fixed before it starts.

The ledger is the only source of a run's noise: the sampler reads `rate`, the optimiser `noise_multiplier` and the
loop `steps` from it. Whether they did is what a `Witness` says afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from descent.core.errors import SettingError
from descent.privacy.calibrate import ACCOUNTANTS, epsilon, noise_multiplier


@dataclass(frozen=True)
class Ledger:
    """The privacy of one run. Built by `open`; nothing in it depends on a private record.

    records: number N of records (public). batch: expected batch B = q N, by which the noisy sum is divided.
    epsilon: what `accountant` proves for (rate, noise_multiplier, steps, delta); `budget` is what was asked for.
    """

    records: int
    rate: float
    steps: int
    noise_multiplier: float
    clip_norm: float
    delta: float
    accountant: str
    budget: float
    epsilon: float

    @property
    def batch(self) -> float:
        """Expected batch B = q N, in records."""
        return self.rate * self.records

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on the sum, sigma C; 0 without noise, also where C is infinite."""
        return self.noise_multiplier * self.clip_norm if self.noise_multiplier else 0.0

    @classmethod
    def open(
        cls,
        *,
        budget: float,
        delta: float,
        records: int,
        batch: float,
        steps: int,
        clip_norm: float,
        accountant: str = "rdp",
        noise: float | None = None,
    ) -> Ledger:
        """The ledger of `steps` steps on batches of expected size `batch` out of `records`.

        noise: the noise multiplier; None takes the least that keeps the budget. One that does not keep it is refused
        (SettingError): such a run must not start.
        """
        if not 0 < batch <= records:
            raise SettingError(f"privacy: `batch` must lie in (0, records = {records}], got {batch}")
        rate = batch / records
        sigma = noise_multiplier(budget, rate, steps, delta, accountant) if noise is None else noise
        spent = epsilon(rate, sigma, steps, delta, accountant)
        ledger = cls(records, rate, steps, sigma, clip_norm, delta, accountant, budget, spent)
        ledger.confirm()
        return ledger

    def confirm(self) -> None:
        """Refuse a ledger whose noise and accountant disagree. Raises SettingError, one sentence."""
        spent = epsilon(self.rate, self.noise_multiplier, self.steps, self.delta, self.accountant)
        where = f"noise multiplier {self.noise_multiplier:.6g} over {self.steps} steps at sampling rate {self.rate:.6g}"
        if spent > self.budget * (1 + 1e-9):
            raise SettingError(
                f"privacy: {where} spends epsilon {spent:.6g} by `{self.accountant}`, more than the budget "
                f"{self.budget:g} at delta {self.delta:g}; raise the noise, lower `steps` or the batch, or leave the "
                "noise out to have it computed"
            )
        if math.isinf(self.budget) and self.noise_multiplier > 0:
            raise SettingError(
                f"privacy: {where} has a finite epsilon {spent:.6g}, but the budget says no privacy (inf); "
                "give the budget that is meant, or noise 0"
            )
        if spent != self.epsilon and not math.isclose(spent, self.epsilon, rel_tol=1e-9):
            raise SettingError(
                f"privacy: the ledger says epsilon {self.epsilon:.6g}, but {where} spends {spent:.6g} by "
                f"`{self.accountant}`; open the ledger anew"
            )

    def entries(self) -> dict[str, float]:
        """The numbers that a run records of itself."""
        return {
            "sampling_rate": self.rate,
            "noisy_steps": float(self.steps),
            "noise_multiplier": self.noise_multiplier,
            "accountant": float(list(ACCOUNTANTS).index(self.accountant)),
            "epsilon_spent": self.epsilon,
            "delta": self.delta,
        }
