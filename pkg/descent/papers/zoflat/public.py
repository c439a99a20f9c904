"""ZO, its control DD, and SAM as ordinary optimisers of any network's parameters, and the trace of a network's Hessian.

The methods are those of the study: ZO is the in-place form of mezo.py (no gradient, no copy of the parameters or of the
direction), DD and SAM take the steps of two_point.py and sharpness_aware.py (tests hold them to the same bits).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states

from descent.core.errors import SettingError
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.zoflat.curvature import TraceEstimate, quadratic_forms, summary
from descent.papers.zoflat.in_place import directions, evaluate_pair_, shift_
from descent.papers.zoflat.problem import two_point_slope
from descent.papers.zoflat.settings import PUBLIC
from descent.papers.zoflat.sharpness_aware import uphill
from descent.toolbox.counter import signs, subkey, words

STREAMS = Streams("zoflat")
Closure = Callable[[], Any]
Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class ZO(torch.optim.Optimizer):
    """Two-point zeroth-order descent (MeZO's form of the paper's Algorithm 1): forward passes only.

    `loss = opt.step(closure)`; closure() returns the loss, a number or a tensor of one element, and need not be differentiable.
    lr: eta, a group's own where it has one, so schedulers work. smoothing: lambda, > 0: the larger, the flatter the minima that
    are sought. Trained is what requires a gradient at the time of a step. Both losses of a step see the same random numbers of
    torch (dropout masks); batch normalisation in training mode updates its averages twice. The loss that is returned is the
    mean of the two. Where the closure raises, the parameters are put back, up to rounding. `state_dict` resumes to the bit.

    Raises SettingError at construction, and for a step without a closure or with a loss that is not one number.
    """

    def __init__(self, params: Parameters, lr: float, *, smoothing: float = 1e-3, seed: int = 0) -> None:
        check("ZO", PUBLIC, lr=lr, smoothing=smoothing, seed=seed)
        super().__init__(
            trainable_or_refused("ZO", params), {"lr": lr, "smoothing": smoothing, "seed": seed, "taken": 0}
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        refuse_group("ZO", param_group)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        smoothing, source = self.param_groups[0]["smoothing"], next_direction(self.param_groups)
        x, rates = moving(self.param_groups)
        loss = SameRandomness(scalar("ZO", closure), x)
        above, below = evaluate_pair_(lambda scale: shift_(x, source, scale), loss, smoothing)
        slope = two_point_slope(above, below, smoothing)
        shift_(x, source, [smoothing - rate * slope for rate in rates])
        self.param_groups[0]["taken"] += 1
        return (above + below) / 2


class DD(torch.optim.Optimizer):
    """ZO without smoothing, its limit lambda -> 0: the exact derivative along the same random direction. A control.

    Used as ZO; the closure's loss must be differentiable, and the closure must not call `backward()`. Returns the loss.
    """

    def __init__(self, params: Parameters, lr: float, *, seed: int = 0) -> None:
        check("DD", PUBLIC, lr=lr, seed=seed)
        super().__init__(trainable_or_refused("DD", params), {"lr": lr, "seed": seed, "taken": 0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        refuse_group("DD", param_group)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        x, rates = moving(self.param_groups)
        loss, gradient = with_gradient(scalar("DD", closure), x, "DD")
        u = list(directions(next_direction(self.param_groups), x))
        slope = inner(gradient, u)
        for each, own, rate in zip(x, u, rates, strict=True):
            each.addcmul_(own, -rate * slope)
        self.param_groups[0]["taken"] += 1
        return loss


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation with plain gradient descent: the gradient `radius` uphill. Two gradients a step.

    Used as ZO; the closure's loss must be differentiable, and the closure must not call `backward()`. Returns the loss before
    the step. radius: rho, over all trained parameters together.
    """

    def __init__(self, params: Parameters, lr: float, *, radius: float) -> None:
        check("SAM", PUBLIC, lr=lr, radius=radius)
        super().__init__(trainable_or_refused("SAM", params), {"lr": lr, "radius": radius})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        refuse_group("SAM", param_group)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        x, rates = moving(self.param_groups)
        evaluate = SameRandomness(scalar("SAM", closure), x)
        loss, gradient = with_gradient(evaluate, x, "SAM")
        kept = [each.clone() for each in x]
        scale = uphill(inner(gradient, gradient), self.param_groups[0]["radius"])
        try:
            for each, own in zip(x, gradient, strict=True):
                each.addcmul_(own, scale)
            _, ahead = with_gradient(evaluate, x, "SAM")
        finally:
            for each, before in zip(x, kept, strict=True):
                each.copy_(before)
        for each, own, rate in zip(x, ahead, rates, strict=True):
            each.add_(own, alpha=-rate)
        return loss


def hessian_trace(
    loss: Closure, params: Iterable[Tensor], *, probes: int = 64, seed: int | Sequence[int] = 0
) -> TraceEstimate:
    """Tr Hess of loss() in `params`, by Hutchinson's estimate with exact Hessian-vector products: mean and standard error.

    loss() returns a tensor of one element and is called once. Several seeds: a leading axis, a row each. Parameters that do not
    require a gradient are left out. Raises SettingError.
    """
    seeds = [seed] if isinstance(seed, int) else list(seed)
    for each in seeds:
        check("hessian_trace", PUBLIC, probes=probes, seed=each)
    x = [p for p in trainable_or_refused("hessian_trace", params) if p.requires_grad]
    with torch.enable_grad():
        value = scalar("hessian_trace", loss)()
    sizes = [each.numel() for each in x]
    drawn: dict[tuple[int, int], Tensor] = {}

    def probe(i: int) -> list[Tensor]:
        row, k = divmod(i, probes)
        if (row, k // 64) not in drawn:
            drawn.clear()
            key = torch.tensor(STREAMS.entropy("probe", seeds[row]) % 2**63, device=x[0].device)
            drawn[row, k // 64] = words(subkey(key, 1, k // 64), sum(sizes))
        parts = drawn[row, k // 64].split(sizes)
        return [signs(part, k % 64, p.dtype).to(p.device).view_as(p) for part, p in zip(parts, x, strict=True)]

    forms = quadratic_forms(value, x, probe, probes * len(seeds))
    samples = torch.stack([sum(form.sum().to(value.device) for form in each) for each in forms])  # type: ignore[misc]
    found = summary(samples.detach().view(len(seeds), probes).T)
    return TraceEstimate(found.mean[0], found.stderr[0]) if isinstance(seed, int) else found


class SameRandomness:
    """A closure whose every call sees the same random numbers of torch, on the CPU and on the devices of `x`; the state that it
    leaves behind is that of one call."""

    def __init__(self, closure: Callable[[], Tensor], x: Sequence[Tensor]):
        self.closure, self.x, self.states = closure, x, None

    def __call__(self) -> Tensor:
        if self.states is None:
            self.states = torch.get_rng_state(), get_device_states(*self.x)
        else:
            host, (devices, states) = self.states
            torch.set_rng_state(host)
            if devices:
                set_device_states(devices, states)
        return self.closure()


def scalar(owner: str, closure: Closure | None) -> Callable[[], Tensor]:
    """The closure, its value as a 0-d tensor."""
    if not callable(closure):
        raise SettingError(
            f"{owner}: it needs a function that returns the loss, as in opt.step(lambda: loss(net(x), y)), got {closure!r}"
        )

    def evaluate() -> Tensor:
        value = closure()
        value = value if isinstance(value, Tensor) else torch.tensor(value)
        if value.numel() != 1:
            raise SettingError(f"{owner}: the loss must be one number, got a tensor of shape {tuple(value.shape)}")
        return value.reshape(())

    return evaluate


def with_gradient(loss: Callable[[], Tensor], x: Sequence[Tensor], owner: str) -> tuple[Tensor, Sequence[Tensor]]:
    """loss() and its gradient in each of x; `.grad` is left alone."""
    with torch.enable_grad():
        value = loss()
    if not value.requires_grad:
        raise SettingError(f"{owner}: the loss does not depend on the parameters in a way that torch can differentiate")
    try:
        return value.detach(), torch.autograd.grad(value, x, materialize_grads=True)
    except RuntimeError as error:
        error.add_note(f"{owner}: the closure returns the loss and does not call backward(); the optimiser does")
        raise


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """<a, b> over all tensors, 0-d."""
    parts = [
        torch.linalg.vecdot(p.reshape(1, -1), q.reshape(1, -1))[0].to(a[0].device) for p, q in zip(a, b, strict=True)
    ]
    return torch.stack(parts).sum() if len(parts) > 1 else parts[0]


def moving(groups: Sequence[dict[str, Any]]) -> tuple[list[Tensor], list[float]]:
    """What requires a gradient now, and the lr of each."""
    pairs = [(p, group["lr"]) for group in groups for p in group["params"] if p.requires_grad]
    if not pairs:
        raise SettingError("every parameter is frozen: nothing requires a gradient")
    return [p for p, _ in pairs], [rate for _, rate in pairs]


def next_direction(groups: Sequence[dict[str, Any]]) -> int:
    """The seed of the coming step's direction."""
    return STREAMS.entropy("direction", groups[0]["seed"], groups[0]["taken"]) % 2**63


def trainable_or_refused(owner: str, params: Parameters) -> list[Any]:
    """`params` as a list. Raises SettingError unless they are tensors or groups, some of which require a gradient."""
    if isinstance(params, (nn.Module, Tensor)) or not isinstance(params, Iterable):
        raise SettingError(
            f"{owner}: `params` must be parameters, as in net.parameters(), got a {type(params).__name__}"
        )
    listed = list(params)
    flat = list(_tensors(listed))
    if not flat or not all(isinstance(p, Tensor) for p in flat):
        wrong = next((type(p).__name__ for p in flat if not isinstance(p, Tensor)), "nothing")
        raise SettingError(f"{owner}: `params` must hold tensors, or groups of them, got {wrong}")
    if any(p.is_complex() for p in flat):
        raise SettingError(f"{owner}: `params` must be real, got a {next(p.dtype for p in flat if p.is_complex())}")
    if not any(p.requires_grad for p in flat):
        raise SettingError(f"{owner}: every parameter is frozen: none of `params` requires a gradient")
    return listed


def _tensors(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, dict):
            held = item.get("params", ())
            item["params"] = [held] if isinstance(held, Tensor) else list(held)
            yield from item["params"]
        elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            yield item[1]  # of named_parameters()
        else:
            yield item


def refuse_group(owner: str, group: dict[str, Any]) -> None:
    """Raise SettingError for a bad group."""
    for name in ("smoothing", "seed", "radius", "taken"):
        if name in group:
            raise SettingError(f"{owner}: `{name}` is the optimiser's, not a group's: only `lr` may differ")
    if "lr" in group:
        check(owner, PUBLIC, lr=group["lr"])
