"""SGD on a loss of one's own over Gaussian fields: `simulate` runs it in any dimension d at the cost of a few numbers a step, `flow`
integrates what it follows as d grows.

Both take loss(s, z) -> one number a row, of the student's fields s and the teacher's z, (tokens, rows) each. Both see the tokens through
these alone: that is the model (docs/papers/ssi.md), and why d costs nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.ssi import gradient_flow, plain, single
from descent.papers.ssi.chains import Model, run_chains
from descent.papers.ssi.noise import Chain, Plan
from descent.papers.ssi.quadrature import Student
from descent.papers.ssi.settings import PUBLIC

Loss = Callable[[Tensor, Tensor], Tensor]
BLOCK = 1000


class Run(NamedTuple):
    """What `simulate` gives. time: the step at which the overlap reached `level`, inf where it did not, ([seeds],).

    history: metric -> (steps of `at`, [seeds]): "m", with an encoding also "e". diverged ([seeds],): the chain ended in something that
    is not a number.
    """

    time: Tensor
    history: dict[str, Tensor]
    diverged: Tensor


class Flow(NamedTuple):
    """What `flow` gives. history: "m" and "e" at the times (T,). diverged: whether any of it is not a number."""

    history: dict[str, Tensor]
    diverged: bool


class Constants(NamedTuple):
    """What a step knows of its rows. kappa (R,) = lr/d; signs (2, R) of the encoding; root (R,) = sqrt L."""

    kappa: Tensor
    signs: Tensor
    root: Tensor


def simulate(
    loss: Loss,
    *,
    tokens: int,
    dimension: int,
    lr: float,
    steps: int,
    start: float | tuple[float, float],
    level: float | None = None,
    at: Sequence[int] = (),
    method: str = "tied",
    seed: int | Sequence[int] = 0,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> Run:
    """One-pass SGD (batch 1) on the sphere |w|^2 = d, exact in law for any d.

    loss(s, z) -> (rows,): of fields s = <x_l, w> and z = <x_l, w*>, (tokens, rows); it is differentiated by autograd.
    dimension: d. lr: of w <- w - lr grad, before w is rescaled. steps: at most so many, a fresh sequence each.
    start: the overlap m = <w, w*>/d; or (m, e) for two tokens that carry the opposite positional encoding +p, -p, whose overlap
    with w is e: then s is (z_1 + e, z_2 - e) in mean.
    level: stop a chain once |m| reaches it, and give that step. at: steps at which the overlaps are kept; the chains then run to the end.
    method: "tied", one vector for all tokens, or "plain", a vector a token (its overlap is ||(m_1..m_L)|| / sqrt L).
    seed: one, or several: a leading axis of `time`, a trailing one of the history, each as it would be alone.
    dtype: of the state and of what the loss is given; by default torch's. Raises SettingError for what cannot be.
    """
    seeds = _seeds("simulate", seed)
    check("simulate", PUBLIC, tokens=tokens, dimension=dimension, lr=lr, steps=steps, method=method)
    pair = _pair("simulate", start, tokens)
    if pair is not None and method == "plain":
        raise SettingError("simulate: `start` must be one number for the plain network, which has no encoding here")
    if level is not None:
        check("simulate", PUBLIC, level=level)
    points = _points(at, steps)
    if level is None and not points:
        raise SettingError("simulate: give `level` or `at`, or there is nothing to see")
    dtype = _dtype("simulate", dtype)
    rows, device = len(seeds), torch.device(device)
    full = lambda x: torch.full((rows,), float(x), dtype=dtype).to(device)  # noqa: E731
    _try("simulate", loss, tokens, dtype, device)
    model = model_of(loss, tokens, method, positional=pair is not None)
    kappa = full(lr / dimension)
    constants = Constants(kappa, single.opposite(kappa), full(math.sqrt(tokens)))
    m = pair[0] if pair else start
    body: Any
    if method == "plain":
        body = plain.start(full(m), torch.ones(tokens, rows, dtype=dtype).to(device))
    else:
        body = single.start(full(m), full(pair[1]) if pair else None)
    chunk = max(n for n in range(1, 51) if math.gcd(BLOCK, *points) % n == 0)
    plan = Plan(-(-steps // chunk) * chunk, BLOCK, chunk)
    passages = run_chains(
        Context(device, Streams("ssi"), {}), "own", model, [Chain(s, ("own", dimension), tokens, dimension) for s in seeds],
        body, constants, plan, threshold=full(math.inf if level is None else level),
        measure=(lambda state: _seen(model, state, method, pair is not None)) if points else None, at=points,
    )  # fmt: skip
    alone = isinstance(seed, int)
    passed = np.where(passages.time > steps, np.inf, passages.time)
    time = torch.from_numpy(np.where(np.isnan(passed), np.inf, passed)).to(device, dtype)
    diverged = torch.from_numpy(np.isnan(passages.time)).to(device)
    table = {} if passages.trace is None or not points else passages.trace.values
    history = {name: torch.from_numpy(x).to(device, dtype) for name, x in table.items()}
    if alone:
        return Run(time[0], {name: x[:, 0] for name, x in history.items()}, diverged[0])
    return Run(time, history, diverged)


def flow(
    loss: Loss,
    *,
    tokens: int,
    start: float | tuple[float, float],
    times: Sequence[float],
    lr: float = 0.0,
    nodes: int = 17,
    largest: float = 0.1,
    dtype: torch.dtype | None = None,
) -> Flow:
    """Where (m, e) of the tied student go as d grows: the gradient flow of the population loss on the sphere, by quadrature.

    times: ascending tau = lr t/d. lr: with the drift -(lr/2) E|a|^2 (m, e) that fresh noise of this rate exerts; 0: the flow alone.
    largest: the longest step of the integration (Runge-Kutta, fourth order) in tau; slow flows bear longer ones.
    tokens: 1 or 2 (the integral has twice as many dimensions, nodes an axis each). Other arguments as in `simulate`.
    """
    check("flow", PUBLIC, lr=lr, nodes=nodes, largest=largest)
    if tokens not in (1, 2):
        raise SettingError(
            f"flow: `tokens` must be 1 or 2, got {tokens!r} (use simulate with a large dimension and a small lr)"
        )
    pair = _pair("flow", start, tokens)
    times = [float(t) for t in times]
    if not times or times[0] < 0 or any(a > b for a, b in itertools.pairwise(times)):
        raise SettingError(f"flow: `times` must ascend from 0, got {times}")
    dtype = _dtype("flow", dtype)
    # The integral is done in float64 whatever the result is asked in: its nodes differ by forty orders of magnitude.
    _try("flow", loss, tokens, torch.float64, torch.device("cpu"))
    student = Student(loss, lambda s, z: _slope(loss, s, z))
    curve = gradient_flow.flow(
        student,
        pair or (start, 0.0),  # pyright: ignore[reportArgumentType] (no pair: a number)
        times,
        rate=lr,
        n=nodes,
        largest=largest,
        tokens=tokens,
        positional=pair is not None,
    )
    found = torch.from_numpy(curve).to(dtype)
    return Flow({"m": found[:, 0], "e": found[:, 1]}, bool(~found.isfinite().all()))


def model_of(loss: Loss, tokens: int, method: str, *, positional: bool) -> Model:
    """The model that `simulate` runs: the loss's slopes in place of a closed form."""
    if method == "plain":
        return plain.plain_network(lambda z, c: z, lambda s, z, c: _slope(loss, s, z), tokens, autograd=True)
    return single.single_vector(
        lambda z, c: z.clone(), lambda s, z, c: _slope(loss, s, z), tokens, positional=positional, autograd=True
    )


def _slope(loss: Loss, s: Tensor, z: Tensor) -> Tensor:
    """dl/ds (L, R) by autograd."""
    s = s.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss(s, z).sum(), s)
    return slope


def _seen(model: Model, state: Any, method: str, positional: bool) -> dict[str, Tensor]:
    if method == "plain":
        return {"m": model.overlap(state)}
    both = single.overlaps(state)
    return both if positional else {"m": both["m"]}


def _seeds(owner: str, seed: Any) -> tuple[int, ...]:
    seeds = (seed,) if isinstance(seed, int) else tuple(seed) if isinstance(seed, Sequence) else ()
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds):
        raise SettingError(f"{owner}: `seed` must be a whole number or a sequence of them, got {seed!r}")
    return seeds


def _pair(owner: str, start: Any, tokens: int) -> tuple[float, float] | None:
    """(m, e) where the tokens carry an encoding, None where `start` is one overlap."""
    number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)  # noqa: E731
    if number(start):
        if abs(start) > 1:
            raise SettingError(f"{owner}: `start` must lie in [-1, 1], got {start!r}")
        return None
    if not (isinstance(start, (tuple, list)) and len(start) == 2 and all(map(number, start))):
        raise SettingError(f"{owner}: `start` must be an overlap m, or a pair (m, e), got {start!r}")
    if tokens != 2:
        raise SettingError(f"{owner}: a pair `start` is for the opposite encoding of 2 tokens, got `tokens` {tokens!r}")
    if start[0] ** 2 + start[1] ** 2 > 1 + 1e-12:
        raise SettingError(f"{owner}: `start` must have e^2 + m^2 at most 1, got {start!r}")
    return float(start[0]), float(start[1])


def _points(at: Any, steps: int) -> list[int]:
    points = sorted(set(at))
    if not all(isinstance(t, int) and 0 <= t <= steps for t in points):
        raise SettingError(f"simulate: `at` must be whole steps in [0, {steps}], got {list(at)!r}")
    return points


def _dtype(owner: str, dtype: torch.dtype | None) -> torch.dtype:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in (torch.float32, torch.float64):
        raise SettingError(f"{owner}: `dtype` must be torch.float32 or torch.float64, got {dtype}")
    return dtype


def _try(owner: str, loss: Any, tokens: int, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a loss that is no loss, on three rows of zeros and ones."""
    if not callable(loss):
        raise SettingError(f"{owner}: `loss` must be callable, loss(s, z) -> one number a row, got {loss!r}")
    s = torch.linspace(-1, 1, 3 * tokens, dtype=dtype).reshape(tokens, 3).to(device).requires_grad_()
    found = loss(s, s.detach())
    if not isinstance(found, Tensor) or found.shape != (3,):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise SettingError(f"{owner}: `loss` must give one number a row, (3,) for fields ({tokens}, 3), got {shape}")
    if not found.requires_grad:
        raise SettingError(
            f"{owner}: `loss` does not depend on the student's fields s in a way that autograd can follow"
        )
