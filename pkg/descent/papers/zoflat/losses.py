"""The two binary losses of Fig. 2 as functions of margins m_i = y_i x_i^T w, y in {-1, +1}.

Margins are (N, S): N examples, a column a seed. `smoothing` is l, `change` is dm = y x^T u, so that
f(w +- l u) = value(m +- l dm): two losses cost no product with the data.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Loss(Protocol):
    def value(self, margins: Tensor) -> Tensor:  # pyright: ignore[reportReturnType] (a protocol's)
        """f: (S,), the mean over the examples."""

    def slope(self, margins: Tensor, change: Tensor, smoothing: float) -> Tensor:  # pyright: ignore[reportReturnType] (a protocol's)
        """(S,) two-point slope along u, smoothing above 0."""

    def pull(self, margins: Tensor) -> Tensor:  # pyright: ignore[reportReturnType] (a protocol's)
        """(N, S) df / dm_i."""

    def curvature(self, margins: Tensor) -> Tensor:  # pyright: ignore[reportReturnType] (a protocol's)
        """(N, S) d2f / dm_i^2: Tr Hess f = sum_i curvature_i |x_i|^2."""


class SquaredHinge(NamedTuple):
    """f = mean max(0, 1 - m)^2, "SVM". Its curvature jumps as margins cross 1 (strictly below counts)."""

    def value(self, margins: Tensor) -> Tensor:
        return (1 - margins).clamp_(min=0).square_().mean(0)

    def slope(self, margins: Tensor, change: Tensor, smoothing: float) -> Tensor:
        short = 1 - margins
        plus = torch.add(short, change, alpha=-smoothing).clamp_(min=0)
        minus = short.add_(change, alpha=smoothing).clamp_(min=0)
        # a^2 - b^2 as a product: no digits are lost as l -> 0.
        return ((plus - minus) * plus.add_(minus)).mean(0) / (2 * smoothing)

    def pull(self, margins: Tensor) -> Tensor:
        return (1 - margins).clamp_(min=0).mul_(-2 / len(margins))

    def curvature(self, margins: Tensor) -> Tensor:
        return (margins < 1).to(margins.dtype).mul_(2 / len(margins))


class Logistic(NamedTuple):
    """f = mean log(1 + exp(-m)), by softplus: the official code's log_loss clips probabilities at machine epsilon."""

    def value(self, margins: Tensor) -> Tensor:
        return _softplus(-margins).mean(0)

    def slope(self, margins: Tensor, change: Tensor, smoothing: float) -> Tensor:
        minus_m = -margins
        plus = _softplus(torch.sub(minus_m, change, alpha=smoothing))
        minus = _softplus(minus_m.add_(change, alpha=smoothing))
        return plus.sub_(minus).mean(0) / (2 * smoothing)

    def pull(self, margins: Tensor) -> Tensor:
        return torch.sigmoid(-margins).mul_(-1 / len(margins))

    def curvature(self, margins: Tensor) -> Tensor:
        return (torch.sigmoid(margins) * torch.sigmoid(-margins)).mul_(1 / len(margins))


def _softplus(x: Tensor) -> Tensor:
    # Beyond the threshold torch returns x: at 50 the error is below float64's resolution, at its default (20) not.
    return torch.nn.functional.softplus(x, threshold=50)


LOSSES: dict[str, Loss] = {"svm": SquaredHinge(), "logistic": Logistic()}
