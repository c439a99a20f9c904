"""Robust linear regression: f(theta, (x, y)) = (w.x + b - y)^2, features moved at cost |x - x'|^2, labels fixed.

Everything here is exact (derivations: docs/papers/wdro.md). With r = w.x + b - y, s = |w|, MSE = mean r^2:

    sup_x' f - lam c = lam r^2 / (lam - s^2) for lam > s^2, else infinity
    min over lam of F = (sqrt(MSE) + radius s)^2, at lam* = s^2 + s sqrt(MSE) / radius   (Blanchet, Kang, Murthy)

and F^eps is a Gaussian integral. Axes: ... batch, n data, d features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from descent.papers.wdro.point import Evaluation, Point


@dataclass(frozen=True)
class Regression:
    """The data, the ball and the reference measure.

    radius: delta; the ball holds the laws at squared cost at most delta^2. deviation: sigma of the reference
    pi0(. | x) = N(x, sigma^2 I). intercept: whether theta has one (never moved by the adversary).
    """

    features: Tensor  # (n, d)
    labels: Tensor  # (n,)
    radius: float
    deviation: float
    intercept: bool = False
    strata: ClassVar[int] = 1  # labels that a draw may carry

    @property
    def dimension(self) -> int:
        """d."""
        return self.features.shape[1]

    def to(self, device: torch.device | str) -> Regression:
        """The same with its data on `device`."""
        return replace(self, features=self.features.to(device), labels=self.labels.to(device))

    def residuals(self, point: Point) -> Tensor:
        """r (..., n)."""
        return point.weight @ self.features.T + point.intercept[..., None] - self.labels

    def risk(self, point: Point) -> Tensor:
        """The plain mean loss (...,)."""
        return self.residuals(point).square().mean(-1)

    def exact(self, point: Point) -> Evaluation:
        """F and its gradient; the value is infinite (the gradient NaN) where lam <= |w|^2."""
        return self._evaluate(point, torch.zeros_like(point.lam))

    def smoothed(self, point: Point, epsilon: Tensor | float) -> Evaluation:
        """F^eps with the expectation over pi0 done exactly, and its gradient; infinite for eps <= 2 sigma^2 (|w|^2 - lam)."""
        return self._evaluate(point, self._like(point, epsilon))

    def exact_hessian(self, point: Point) -> Tensor:
        """The Hessian of F in (weight, intercept where there is one, lam): (..., p, p)."""
        return self._hessian(point, torch.zeros_like(point.lam))

    def smoothed_hessian(self, point: Point, epsilon: Tensor | float) -> Tensor:
        """The same of F^eps."""
        return self._hessian(point, self._like(point, epsilon))

    def worst_case(self, point: Point) -> tuple[Tensor, Tensor]:
        """min over lam of F, and the lam that attains it, (...,) each; point.lam is not looked at."""
        s, root = point.weight.norm(dim=-1), self.risk(point).sqrt()
        return (root + self.radius * s).square(), s * s + s * root / self.radius

    def shift(self, prediction: Tensor, labels: Tensor, norm: Tensor, lam: Tensor) -> Tensor:
        """How far along w / |w| the worst case of each datum lies at that lam: r |w| / (lam - |w|^2), with a trailing axis of one.

        prediction (..., b), labels broadcastable to it, norm and lam (...,).
        """
        gap = (lam - norm.square()).clamp(min=1e-6)  # clamp: any centre is valid; lam <= |w|^2 has no worst case
        return ((prediction - labels) * (norm / gap)[..., None])[..., None]

    def loss(self, prediction: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """f and its derivative in the prediction."""
        r = prediction - labels
        return r.square(), 2 * r

    def strata_labels(self, labels: Tensor) -> Tensor:
        """The label of every stratum, a trailing axis of one."""
        return labels[..., None]

    def _like(self, point: Point, epsilon: Tensor | float) -> Tensor:
        lam = point.lam
        return torch.as_tensor(epsilon, dtype=lam.dtype, device=lam.device).expand_as(lam)

    def _evaluate(self, point: Point, epsilon: Tensor) -> Evaluation:
        """lam delta^2 + MSE gain(|w|^2, lam) + bonus(|w|^2, lam)."""
        r, (weight, _, lam) = self.residuals(point), point
        mse, (gain, bonus) = r.square().mean(-1), self._radial(point, epsilon)
        infinite = torch.full_like(lam, float("inf"))
        value = lam * self.radius**2 + torch.where(gain.value.isnan(), infinite, mse * gain.value + bonus.value)
        pull = 2 * gain.value[..., None] * (r @ self.features) / r.shape[-1]
        shift = 2 * gain.value * r.mean(-1)
        toward = 2 * (mse * gain.q + bonus.q)
        down = self.radius**2 + mse * gain.lam + bonus.lam
        shift = shift if self.intercept else torch.zeros_like(shift)
        return Evaluation(value, Point(pull + toward[..., None] * weight, shift, down))

    def _radial(self, point: Point, epsilon: Tensor) -> tuple[Radial, Radial]:
        """What multiplies the MSE, 1 + 2 q / W with W = eps / sigma^2 + 2 (lam - q), and the Gaussian integral's logarithms.

        epsilon zero gives those of F: the first is lam / (lam - q), the second zero. NaN where W <= 0.
        """
        q, lam, var, others = point.weight.square().sum(-1), point.lam, self.deviation**2, self.dimension - 1
        width = epsilon / var + 2 * (lam - q)
        width = torch.where(width > 0, width, torch.full_like(width, float("nan")))
        across = epsilon / var + 2 * lam
        square, cube = width.square(), width**3
        gain = Radial(
            1 + 2 * q / width, 2 / width + 4 * q / square, -4 * q / square,
            8 / square + 16 * q / cube, -4 / square - 16 * q / cube, 16 * q / cube,
        )  # fmt: skip
        logs = torch.xlogy(epsilon, var * width) + others * torch.xlogy(epsilon, var * across)
        bonus = Radial(
            -0.5 * (logs - (1 + others) * torch.xlogy(epsilon, epsilon)),
            epsilon / width, -epsilon / width - others * epsilon / across,
            2 * epsilon / square, -2 * epsilon / square, 2 * epsilon / square + 2 * others * epsilon / across.square(),
        )  # fmt: skip
        return gain, bonus

    def _hessian(self, point: Point, epsilon: Tensor) -> Tensor:
        r, (weight, _, _lam), d, n = self.residuals(point), point, self.dimension, self.labels.shape[0]
        mse, (gain, bonus) = r.square().mean(-1), self._radial(point, epsilon)
        whole = Radial(*(mse * g + b for g, b in zip(gain, bonus, strict=True)))
        x = self.features
        if self.intercept:
            x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        size, extra = x.shape[1], x.shape[1] - d
        slope = torch.nn.functional.pad(2 * (r @ x) / n, (0, 1))  # of the MSE
        along = torch.nn.functional.pad(weight, (0, extra + 1))
        bend = 2 * gain.q[..., None] * along  # the gain's own gradient
        bend[..., -1] = gain.lam
        full = slope[..., :, None] * bend[..., None, :] + bend[..., :, None] * slope[..., None, :]
        full[..., :size, :size] += gain.value[..., None, None] * (2 * x.T @ x / n)
        full = full + 4 * whole.qq[..., None, None] * along[..., :, None] * along[..., None, :]
        full[..., range(d), range(d)] += 2 * whole.q[..., None]
        full[..., :d, -1] += 2 * whole.qlam[..., None] * weight
        full[..., -1, :d] += 2 * whole.qlam[..., None] * weight
        full[..., -1, -1] += whole.lamlam
        return full


class Radial(NamedTuple):
    """A function of q = |w|^2 and lam, with its derivatives."""

    value: Tensor
    q: Tensor
    lam: Tensor
    qq: Tensor
    qlam: Tensor
    lamlam: Tensor


def least_squares(problem: Regression) -> Point:
    """The minimiser of the plain mean loss (lam zero), of least norm where there are several.

    By the eigenvalues of x'x: the last bits of LAPACK's least squares vary from call to call.
    """
    x = problem.features
    if problem.intercept:
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    solution = torch.linalg.pinv(x.T @ x, hermitian=True) @ (x.T @ problem.labels)
    weight = solution[: problem.dimension]
    intercept = solution[-1] if problem.intercept else torch.zeros_like(solution[0])
    return Point(weight, intercept, torch.zeros_like(intercept))
