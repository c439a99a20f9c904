"""`RobustLoss`: the sampled dual of a worst-case risk as a loss for any network, one line in a training loop of one's own.

The objective is that of sampling.py, by autograd: for a batch, lam delta^2 + mean_i eps log mean_j exp((f - lam c)/eps + corr),
draws held fixed; c = |x - x'|^2 over all the features of a row. lam is a parameter of the module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from descent.core.errors import SettingError
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.wdro.settings import PUBLIC


class RobustLoss(nn.Module):
    """The worst expected loss over all laws within `radius` of the data (Wasserstein, squared cost), regularised and sampled.

    loss(prediction, target) -> one number a row (reduction="none"). radius: delta > 0, in the units of x: standardise
    first. epsilon: the regularisation, a number or k -> number for call k = 0, 1, ... samples: draws a row (a call passes
    samples times the batch through the network). sampler: "shifted" draws around the worst case, found by `ascents`
    gradients in x; "plain" from the reference N(x, deviation^2); "library" as skwdro does. deviation: default three radii.
    dual: (low, start, high) of lam; call `project_()` after every optimiser step. label_flip: probability with which the
    reference flips a label (0/1 or -1/+1), at cost `label_cost` each; 0: labels fixed. seed: of the draws, fresh at every call.

    Raises SettingError at construction for a value outside its limits. Random state outside is not touched.
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        radius: float,
        epsilon: float | Callable[[int], float] = 1e-2,
        samples: int = 16,
        sampler: str = "shifted",
        deviation: float | None = None,
        dual: tuple[float, float, float] = (0.01, 5.0, 1000.0),
        label_flip: float = 0.0,
        label_cost: float = 0.25,
        ascents: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not callable(loss):
            raise SettingError(
                f"RobustLoss: `loss` must be callable, loss(prediction, target) -> one number a row, got {loss!r}"
            )
        if not isinstance(radius, (int, float)) or isinstance(radius, bool) or not radius > 0:
            raise SettingError(f"RobustLoss: `radius` must be a number above 0 (0 is the plain loss), got {radius!r}")
        if not isinstance(dual, tuple) or len(dual) != 3 or not all(isinstance(x, (int, float)) for x in dual):
            raise SettingError(f"RobustLoss: `dual` must be three numbers (low, start, high), got {dual!r}")
        if not 0 < dual[0] <= dual[1] <= dual[2] < math.inf:
            raise SettingError(f"RobustLoss: `dual` must have 0 < low <= start <= high, got {dual!r}")
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise SettingError(f"RobustLoss: `seed` must be a whole number, got {seed!r}")
        deviation = 3 * radius if deviation is None else deviation
        check(
            "RobustLoss", PUBLIC, radius=radius, samples=samples, sampler=sampler, deviation=deviation,
            label_flip=label_flip, label_cost=label_cost, ascents=ascents,
        )  # fmt: skip
        if not callable(epsilon):
            check("RobustLoss", PUBLIC, epsilon=epsilon)
        if label_flip and samples < 2:
            raise SettingError(f"RobustLoss: `samples` must be at least 2 where labels may flip, got {samples}")
        self.loss, self.radius, self.epsilon, self.samples, self.sampler = (
            loss,
            float(radius),
            epsilon,
            samples,
            sampler,
        )
        self.deviation, self.low, self.high, self.ascents, self.seed = (
            deviation,
            float(dual[0]),
            float(dual[2]),
            ascents,
            seed,
        )
        self.label_flip, self.label_cost = label_flip, label_cost
        self.lam = nn.Parameter(torch.tensor(float(dual[1])))
        self.calls = 0
        self._streams = Streams("wdro")

    @property
    def dual(self) -> Tensor:
        """lam, detached."""
        return self.lam.detach()

    def project_(self) -> None:
        """Put lam back between low and high: after every optimiser step."""
        with torch.no_grad():
            self.lam.clamp_(self.low, self.high)

    def forward(self, network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The regularised dual on the batch x (b, ...), y (b, ...): a scalar; its gradient is g^{eps,m}."""
        if not x.is_floating_point():
            raise SettingError(f"RobustLoss: x must hold floating-point features, got {x.dtype}")
        epsilon = self.epsilon(self.calls) if callable(self.epsilon) else self.epsilon
        if not (isinstance(epsilon, (int, float)) and epsilon > 0):
            raise SettingError(f"RobustLoss: `epsilon` of call {self.calls} must be a number above 0, got {epsilon!r}")
        b, d, strata = x.shape[0], x[0].numel(), 2 if self.label_flip else 1
        m = self.samples // strata
        u = self._streams.normal("draws", [self.seed], (b, strata, m, d), self.calls, dtype=self._drawn(x.dtype))[0]
        u = u.to(x.device, x.dtype)
        self.calls += 1
        lam, labels = self.lam.to(x.dtype), [y] if strata == 1 else [y, self._flipped(y)]
        centre, deviation = self._cloud(network, x, labels, lam.detach(), epsilon)  # (b, L, d), ()
        shift = centre[:, :, None] + deviation * u  # (b, L, m, d)
        cost = shift.square().sum(-1)
        exponent = torch.zeros_like(cost)
        if self.sampler != "plain":
            exponent = u.square().sum(-1) / 2 - cost / (2 * self.deviation**2) + d * (deviation / self.deviation).log()
        if strata == 2:
            flipped = torch.arange(2, dtype=x.dtype, device=x.device)[:, None]
            kept, turned = (math.log(2 * chance) for chance in (1 - self.label_flip, self.label_flip))
            cost, exponent = cost + self.label_cost * flipped, exponent + kept + (turned - kept) * flipped
        moved = (x.reshape(b, 1, 1, d) + shift).reshape(b * strata * m, *x.shape[1:])
        targets = torch.stack(labels, 1).repeat_interleave(m, 1).flatten(0, 1)
        losses = self._losses(network, moved, targets).reshape(b, strata, m)
        total = ((losses - lam * cost) / epsilon + exponent).flatten(1).logsumexp(1)
        return lam * self.radius**2 + epsilon * (total.mean() - math.log(strata * m))

    def _cloud(
        self, network: Any, x: Tensor, labels: list[Tensor], lam: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        """Where the draws lie around each row under each label, and how far they spread."""
        b, whole = x.shape[0], torch.full_like(lam, self.deviation)
        centre = x.new_zeros(b, len(labels), x[0].numel())
        if self.sampler == "plain":
            return centre, whole
        narrow = (1 / self.deviation**2 + 2 * lam / epsilon).rsqrt()
        stiff, rounds = (
            (lam, 1) if self.sampler == "library" else (lam + epsilon / (2 * self.deviation**2), self.ascents)
        )
        targets = torch.stack(labels, 1).flatten(0, 1)
        for _ in range(rounds):
            at = (x.reshape(b, 1, -1) + centre).reshape(b * len(labels), *x.shape[1:]).requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(self._losses(network, at, targets).sum(), at)
            centre = slope.reshape(centre.shape) / (2 * stiff)
        return centre, whole if self.sampler == "library" else narrow

    def _losses(self, network: Any, x: Tensor, y: Tensor) -> Tensor:
        found = self.loss(network(x), y)
        if found.numel() != x.shape[0]:
            raise SettingError(
                f'RobustLoss: `loss` must give one number a row (reduction="none"), got shape {tuple(found.shape)} for {x.shape[0]} rows'
            )
        return found.flatten()

    def _flipped(self, y: Tensor) -> Tensor:
        if bool(((y == 0) | (y == 1)).all()):
            return 1 - y
        if bool((y.abs() == 1).all()):
            return -y
        raise SettingError("RobustLoss: with `label_flip` the targets must be 0 and 1, or -1 and 1")

    @staticmethod
    def _drawn(dtype: torch.dtype) -> torch.dtype:
        return torch.float64 if dtype == torch.float64 else torch.float32

    def get_extra_state(self) -> dict[str, int]:
        """How many calls have drawn, so that a resumed run draws on."""
        return {"calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]
