"""Guess & Check and gradient descent on one's own measurements of one's own matrix.

    p = guess_and_check(A, y, depth=2, width=5, tolerance=0.02, truth=W)
    p.error, p.standard_error, p.effective_size

Thin: it checks, reshapes and names; the work is done by the methods that the study runs, on the same streams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.iterate import log_grid
from descent.core.settings import check
from descent.core.streams import Streams
from descent.core.tree import on_device, tree_map
from descent.papers.guesscheck import gradient_descent, guessing, importance, subset
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.posterior import Posterior
from descent.papers.guesscheck.problem import Task, generalisation_loss, measured, training_loss
from descent.papers.guesscheck.settings import SETTINGS

if TYPE_CHECKING:
    from descent.core.method import Method

ENOUGH = 200  # effective size that `auto` asks for before it takes a sampler's word
BATCH = 2048  # guesses at once
DRAWS = 20_000  # weighted draws of `auto`
CHAINS = {"chains": 128, "replicates": 8, "burn_in": 2, "kept": 4}
ROUNDS = 120

Seeds = int | Sequence[int]


class Descent(NamedTuple):
    """The end of gradient descent; with a sequence of seeds every field has the seeds as leading axis."""

    product: Tensor  # (m, m') the product of the factors
    factors: tuple[Tensor, ...]  # the weights of every layer
    history: dict[str, Tensor]  # step (T,); training_loss and error (T,), with several seeds (T, S)
    diverged: Tensor  # () bool


def guess_and_check(
    A: Tensor, y: Tensor, *, depth: int, width: int, activation: str = "linear", prior: str = "gauss",
    normalised: bool = False, tolerance: float, truth: Tensor | None = None, method: str = "auto",
    guesses: int = 1_000_000, seed: Seeds = 0,
) -> Posterior:  # fmt: skip
    """The posterior of Guess & Check: what factorised matrices drawn from the prior are like, once they fit.

    A: (n, m, m') linearly independent measurement matrices, n < m m'; y: (n,) what they measured. truth: (m, m'), the
    target, where test losses are wanted (else `error` is NaN). A guess is accepted where its mean squared residual is
    below `tolerance`. activation: linear, tanh or leaky; prior: gauss or uniform; normalised: divide guesses by their
    norm. method: literal (the paper's, `guesses` of them), importance (depth 2, gauss, not normalised; `guesses`
    weighted draws) or subset (chains, for rare hits; `guesses` is not used); auto: literal, then importance, then
    subset, each where the one before has an effective size below 200. seed: a sequence adds a leading axis.
    dtype and device are A's. Where nothing is accepted the answers are NaN and `accepted` is 0.

    Raises SettingError for inputs that do not fit.
    """
    seeds, single = _seeds("guess_and_check", seed)
    task, (rows, columns) = _task("guess_and_check", A, y, truth, len(seeds))
    if method not in ("auto", "literal", "importance", "subset"):
        raise SettingError(f"guess_and_check: `method` must be auto, literal, importance or subset, got {method!r}")
    check(
        "guess_and_check", SETTINGS, depth=depth, width=width, activation=activation, prior=prior, normalised=normalised,
        tolerance=tolerance, guesses=guesses,
    )  # fmt: skip
    network = Network(rows, columns, depth, width, activation, prior, normalised)
    exact = depth == 2 and prior == "gauss" and not normalised
    if method == "importance" and not exact:
        raise SettingError("guess_and_check: `method` importance needs depth 2, prior gauss and normalised False")
    ways = [method] if method != "auto" else ["literal", *(["importance"] if exact else []), "subset"]
    found: Posterior | None = None
    with torch.no_grad():
        for way in ways:
            if found is not None and bool((found.effective_size >= ENOUGH).all()):
                break
            count = min(guesses, DRAWS) if method == "auto" and way == "importance" else guesses
            found = _preferred(found, _SAMPLERS[way](task, network, seeds, tolerance, count))
    assert found is not None, "there is a way at least"
    found = Posterior(*(x.to(A.dtype) for x in found))
    return Posterior(*(x[0] for x in found)) if single else found


def descend(
    A: Tensor, y: Tensor, *, depth: int, width: int, activation: str = "linear", lr: float = 1e-3, steps: int = 20_000,
    start_scale: float = 1e-3, momentum: float = 0.0, truth: Tensor | None = None, seed: Seeds = 0,
    callback: Callable[[int, dict[str, Tensor]], Any] | None = None,
) -> Descent:  # fmt: skip
    """Gradient descent on the factors from a small start, by the authors' normalised steps of length about lr.

    Arguments as in `guess_and_check`. callback(step, metrics) is called at the steps of the history, metrics on the
    device; raising StopIteration there ends the run. Raises SettingError for inputs that do not fit.
    """
    seeds, single = _seeds("descend", seed)
    task, (rows, columns) = _task("descend", A, y, truth, len(seeds))
    if reason := SETTINGS["step_size"].fault(lr):
        raise SettingError(f"descend: `lr` {reason}")
    check(
        "descend", SETTINGS, depth=depth, width=width, activation=activation, steps=steps, start_scale=start_scale,
        momentum=momentum,
    )  # fmt: skip
    networks = [Network(rows, columns, depth, width, activation)] * len(seeds)
    method = gradient_descent.descent(task, networks, step_size=lr, momentum=momentum)
    start = gradient_descent.start(networks, Streams("guesscheck"), seeds, [start_scale] * len(seeds), like=A)
    state, kept = method.init(start), []
    output = gradient_descent.output(networks, A)
    product = output(state)
    due = set(log_grid(steps, 50))
    with torch.no_grad():
        for t in range(steps + 1):
            if t:
                state, _ = method.step(state, None)
            if t in due:
                product = output(state)
                metrics = {
                    "training_loss": training_loss(task, product[..., None])[:, 0],
                    "error": generalisation_loss(task, product[..., None])[:, 0],
                }
                metrics = {name: x[0] if single else x for name, x in metrics.items()}
                kept.append((t, metrics))
                if callback is not None:
                    try:
                        callback(t, metrics)
                    except StopIteration:
                        break
    history = {name: torch.stack([row[name] for _, row in kept]) for name in ("training_loss", "error")}
    end = Descent(
        product, state.layers, {"step": torch.tensor([t for t, _ in kept]), **history}, ~product.isfinite().all((1, 2))
    )
    if not single:
        return end
    return Descent(end.product[0], tuple(w[0] for w in end.factors), end.history, end.diverged[0])


def _literal(task: Task, network: Network, seeds: Sequence[int], tolerance: float, guesses: int) -> Posterior:
    batch = min(BATCH, max(16, guesses))
    method = guessing.guessing(
        task, network, Streams("guesscheck"), seeds, tolerance=tolerance, batch=batch, dtype=task.labels.dtype
    )
    return guessing.posterior(_run(method, -(-guesses // batch), task))


def _importance(task: Task, network: Network, seeds: Sequence[int], tolerance: float, guesses: int) -> Posterior:
    batch = min(500, max(16, guesses))
    double = Task(*(x.double() for x in task))
    method = importance.importance(double, network, Streams("guesscheck"), seeds, tolerance=tolerance, batch=batch)
    return importance.posterior(_run(method, -(-guesses // batch), task))


def _subset(task: Task, network: Network, seeds: Sequence[int], tolerance: float, guesses: int) -> Posterior:
    method = subset.subset(
        task, network, Streams("guesscheck"), seeds, tolerance=tolerance, dtype=task.labels.dtype, **CHAINS
    )
    times = {name: CHAINS[name] for name in ("burn_in", "kept")}
    state = _run(method, ROUNDS, task, lambda s: subset.finished(s, **times))
    found, _ = subset.posterior(state, chains=CHAINS["chains"], records=CHAINS["kept"])
    there = subset.finished(state, **times).all(1)
    none = Posterior(*(torch.full_like(x, torch.nan) for x in found))
    none = none._replace(accepted=torch.zeros_like(found.error), effective_size=torch.zeros_like(found.error))
    return _where(there, found, none)


_SAMPLERS = {"literal": _literal, "importance": _importance, "subset": _subset}


def _run(method: Method, steps: int, task: Task, finished: Callable[[Any], Tensor] | None = None) -> Any:
    """The state after `steps` steps of one block each, or once every row has finished."""
    state = method.init()
    assert method.draw is not None, "every sampler draws"
    for k in range(steps):
        noise = tree_map(lambda x: x[0], on_device(method.draw(k, 1), task.labels.device))
        state, _ = method.step(state, noise)
        if finished is not None and bool(finished(state).all()):
            break
    return state


def _preferred(old: Posterior | None, new: Posterior) -> Posterior:
    """Row by row the first of the two that has enough behind it, else the one that has more."""
    if old is None:
        return new
    return _where((old.effective_size >= ENOUGH) | (old.effective_size > new.effective_size), old, new)


def _where(rows: Tensor, yes: Posterior, no: Posterior) -> Posterior:
    return Posterior(
        *(
            torch.where(rows.view(-1, *[1] * (a.dim() - 1)), a.double(), b.double())
            for a, b in zip(yes, no, strict=True)
        )
    )


def _seeds(owner: str, seed: Seeds) -> tuple[tuple[int, ...], bool]:
    if isinstance(seed, int):
        seeds = () if isinstance(seed, bool) else (seed,)
    else:
        try:
            seeds = tuple(int(s) for s in seed)
        except TypeError:
            seeds = ()
    if not seeds:
        raise SettingError(f"{owner}: `seed` must be a whole number or a sequence of them, got {seed!r}")
    return seeds, isinstance(seed, int)


def _task(owner: str, A: Tensor, y: Tensor, truth: Tensor | None, count: int) -> tuple[Task, tuple[int, int]]:
    """The task, repeated for `count` seeds; a sentence for whatever does not fit."""
    given = {"A": A, "y": y, **({} if truth is None else {"truth": truth})}
    for name, x in given.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise SettingError(f"{owner}: `{name}` must be a floating-point tensor, got {type(x).__name__}")
        if x.dtype != A.dtype or x.device != A.device:
            raise SettingError(f"{owner}: `{name}` must have the dtype and device of `A`, {A.dtype} on {A.device}")
        if not bool(x.isfinite().all()):
            raise SettingError(f"{owner}: `{name}` must hold finite numbers only")
    if A.dtype not in (torch.float32, torch.float64):
        raise SettingError(f"{owner}: `A` must be float32 or float64, got {A.dtype}")
    if A.dim() != 3 or not 0 < A.shape[0] < A.shape[1] * A.shape[2]:
        raise SettingError(
            f"{owner}: `A` must be of shape (n, m, m') with 0 < n < m m', so that something is left to generalise to, "
            f"got {tuple(A.shape)}"
        )
    n, rows, columns = A.shape
    if y.shape != (n,):
        raise SettingError(f"{owner}: `y` must be of shape ({n},), one number a measurement, got {tuple(y.shape)}")
    if truth is not None and truth.shape != (rows, columns):
        raise SettingError(f"{owner}: `truth` must be of shape ({rows}, {columns}), got {tuple(truth.shape)}")
    # On the host: a decomposition of a few small matrices.
    matrices, labels = (x.detach().cpu().double()[None] for x in (A, y))
    if int(torch.linalg.matrix_rank(matrices.flatten(2))) < n:
        raise SettingError(f"{owner}: the measurement matrices `A` must be linearly independent")
    task = measured(matrices, labels, None if truth is None else truth.detach().cpu().double()[None])
    one = Task(*(x.to(A.device, A.dtype) for x in task))
    return Task(*(x.expand(count, *x.shape[1:]).contiguous() for x in one)), (rows, columns)
