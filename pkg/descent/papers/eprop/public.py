"""The rules as a module, and networks against recordings, on one's own task.

    net = RateRNN(3, 64, 2, rule="eprop")
    output, hidden = net(x)                                  # (B, T, 2), (B, T, 64)
    F.mse_loss(output, target).backward()                    # fills the rule's gradient
    procrustes(hidden.flatten(0, 1), recorded_rates)

Thin: it checks, reshapes and names; forward pass, adjoint, updates and measures are those of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.iterate import iterate
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.eprop import alignment, similarity
from descent.papers.eprop.credit import RULES, Errors, Rule, cell_averaging, gradients
from descent.papers.eprop.matching import matched
from descent.papers.eprop.network import Activity, Parameters, Wiring, forward, initial, random_feedback, wiring_of
from descent.papers.eprop.settings import RULE, SETTINGS
from descent.papers.eprop.start import start_numbers
from descent.papers.eprop.tasks import Batch, Task, normalised_error, squared_error
from descent.papers.eprop.training import learner

STREAMS = Streams("eprop")
Array = Tensor | np.ndarray


class _Credit(torch.autograd.Function):
    """The stacked network with one run, its backward pass the rule's."""

    @staticmethod
    def forward(ctx, x: Tensor, net: RateRNN, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        p = Parameters(*(part[None] for part in parameters))
        W = net._wiring.effective(p.W)
        activity = forward(p, W, x.transpose(0, 1)[None], alpha=net.alpha, activation=net.activation)
        ctx.net, ctx.output = net, activity.output
        ctx.save_for_backward(activity.sent, *parameters)
        return activity.output[0].transpose(0, 1), activity.hidden[0].transpose(0, 1).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, output: Tensor, hidden: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        sent, *parameters = ctx.saved_tensors
        net, p = ctx.net, Parameters(*(part[None] for part in parameters))
        activity = Activity(sent, sent[:, 1:, :, : net.hidden_size], ctx.output)
        by_time = [part.transpose(0, 1)[None].contiguous() for part in (output, hidden)]
        errors = Errors(by_time[0], torch.zeros_like(p.b[:, 0]), by_time[1])
        found = gradients(
            net._rule, p, net._wiring.effective(p.W), activity, errors, net.feedback,
            alpha=net.alpha, activation=net.activation, wiring=net._wiring, cells=net.cells,
        )  # fmt: skip
        return (None, None, *(part[0] for part in found))


class RateRNN(nn.Module):
    """A rate network whose `backward()` is a rule's: bptt (the exact gradient), eprop, tbptt, fa, rflo or modprop.

    a_t = (1 - alpha) a_{t-1} + alpha (W h_{t-1} + U x_t + b), h_t = phi(a_t), y_t = V h_t + c. `net(x)` takes x (B, T, input) and
    gives outputs (B, T, output) and rates (B, T, hidden); any loss of them may be used, with any optimizer. Inputs get no
    gradient. activation: retanh, tanh or relu; gain: of the initial W; dale: 80 % excitatory units; density: share of synapses
    (modprop needs relu and dale). seed: of the initial weights. Raises SettingError.
    """

    feedback: Tensor | None
    cells: Tensor | None
    mask: Tensor | None

    def __init__(
        self, input: int, hidden: int, output: int, *, rule: str = "eprop", alpha: float = 0.1, activation: str = "retanh",
        gain: float = 1.0, dale: bool = False, density: float = 1.0, seed: int = 0, dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        own = {"alpha": alpha, "activation": activation, "gain": gain, "dale": dale, "density": density}
        kept = _rule("RateRNN", rule, **own)
        _sizes("RateRNN", input=input, hidden=hidden, output=output)
        _seed("RateRNN", seed)
        self.rule, self.alpha, self.activation, self.hidden_size, self._rule = rule, alpha, activation, hidden, kept
        self.dale = dale
        numbers = start_numbers(STREAMS, [seed], hidden, input, output, dtype or torch.get_default_dtype())
        for name, value in zip(
            Parameters._fields, initial(numbers, gain=gain, dale=dale, density=density), strict=True
        ):
            self.register_parameter(name, nn.Parameter(value[0].to(device)))
        wiring = wiring_of(numbers, dale=dale, density=density)
        self.register_buffer("mask", None if wiring.mask is None else wiring.mask.to(device))
        self.register_buffer("feedback", random_feedback(numbers).to(device) if kept.random_feedback else None)
        self.register_buffer("cells", cell_averaging(hidden, numbers.W).to(device) if kept.path == "cells" else None)

    @property
    def _wiring(self) -> Wiring:
        return Wiring(self.mask, self.dale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, T, input). Returns outputs (B, T, output) and rates (B, T, hidden)."""
        U = self.get_parameter("U")
        if x.dim() != 3 or x.shape[2] != U.shape[1] or not x.shape[1]:
            raise SettingError(f"RateRNN: `x` must have the shape (batch, time, {U.shape[1]}), got {tuple(x.shape)}")
        if x.dtype != U.dtype:
            raise SettingError(f"RateRNN: `x` must be of the network's {U.dtype}, got {x.dtype}")
        if x.requires_grad:
            raise SettingError("RateRNN: inputs get no gradient; detach `x`")
        output, hidden = _Credit.apply(x, self, *(self.get_parameter(name) for name in Parameters._fields))
        return output, hidden

    def extra_repr(self) -> str:
        U, V = self.get_parameter("U"), self.get_parameter("V")
        return f"{U.shape[1]}, {self.hidden_size}, {V.shape[0]}, rule={self.rule}, alpha={self.alpha}, activation={self.activation}"


class Trained(NamedTuple):
    """Networks after training; with a sequence of seeds every tensor but `step` has them as leading axis."""

    parameters: dict[str, Tensor]  # W, U, b, V, c, start
    history: dict[str, Tensor]  # step (T,); error and, with recordings, distance (T,)
    matched_distance: Tensor  # () distance where the error first reaches `target_error`; NaN: never, or no recordings
    steps_needed: Tensor  # () updates until then; inf: never
    diverged: Tensor  # () bool


def train(
    inputs: Tensor, targets: Tensor, *, hidden: int, mask: Tensor | None = None, recordings: Array | None = None,
    window: slice = slice(None), rule: str = "eprop", steps: int = 500, every: int = 10, lr: float = 5e-4,
    penalty: float = 10.0, alpha: float = 0.1, activation: str = "retanh", gain: float = 1.0, dale: bool = False,
    density: float = 1.0, target_error: float = 0.15, seed: int | Sequence[int] = 0,
    callback: Callable[[int, Mapping[str, Tensor]], Any] | None = None,
) -> Trained:  # fmt: skip
    """Train networks on one's own trials by one rule, and compare them with recordings at equal accuracy.

    inputs (B, T, I), targets (B, T, O), mask (B, T): 1 where the output counts, everywhere by default. Every update sees all
    trials. recordings (B, W, neurons): rates of the same B conditions at the steps `window`. The error is normalised (1: a
    constant output at the mean). steps: updates, with an evaluation after every `every`; callback(step, metrics) there, and it
    may raise StopIteration. dtype and device are those of `inputs`. Raises SettingError.
    """
    owner = "train"
    seeds = [seed] if isinstance(seed, int) else list(seed)
    for each in seeds:
        _seed(owner, each)
    kept = _rule(
        owner, rule, updates=steps, every=every, lr=lr, penalty=penalty, alpha=alpha,
        activation=activation, gain=gain, dale=dale, density=density, target_error=target_error,
    )  # fmt: skip
    _sizes(owner, hidden=hidden)
    batch, rates = _trials(owner, inputs, targets, mask, recordings, window)
    if steps % every:
        raise SettingError(f"{owner}: `steps` must be a multiple of `every`, got {steps} and {every}")
    if not seeds:
        raise SettingError(f"{owner}: `seed` must be a whole number or several, got none")
    numbers = start_numbers(STREAMS, seeds, hidden, inputs.shape[2], targets.shape[2], inputs.dtype)
    numbers = type(numbers)(*(part.to(inputs.device) for part in numbers))
    wiring = wiring_of(numbers, dale=dale, density=density)
    options = {"alpha": alpha, "activation": activation}
    method = learner(
        Task(inputs.shape[2], targets.shape[2], lambda noise: batch, squared_error), rule=rule, lr=lr, penalty=penalty, wiring=wiring,
        feedback=random_feedback(numbers) if kept.random_feedback else None, **options,
    )  # fmt: skip

    def look(parameters: Parameters) -> dict[str, Tensor]:
        activity = forward(parameters, wiring.effective(parameters.W), batch.x, **options)
        found = {"error": normalised_error(activity.output, batch)}
        if rates is not None:
            x = activity.hidden[:, window].transpose(1, 2).flatten(1, 2)
            found["distance"] = similarity.procrustes(x, rates)
        return found

    state = method.init(initial(numbers, gain=gain, dale=dale, density=density))
    context = Context(device=inputs.device, streams=STREAMS, data={})
    with torch.no_grad():
        rows, at = [look(state.parameters)], [0]
        while at[-1] < steps:
            state, _ = iterate(context, "train", state, method, steps=every, block=every)
            rows.append(look(state.parameters))
            at.append(at[-1] + every)
            if callback is not None:
                try:
                    callback(at[-1], rows[-1])
                except StopIteration:
                    break
    return _trained(rows, at, state.parameters, target_error, single=isinstance(seed, int))


def _trained(
    rows: list[dict[str, Tensor]], steps: list[int], parameters: Parameters, target: float, *, single: bool
) -> Trained:
    history = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}  # (T, S)
    error = history["error"]
    distance = history.get("distance", torch.full_like(error, torch.nan))
    match = matched(np.asarray(steps), error.double().cpu().numpy(), distance.double().cpu().numpy(), target)
    values, updates = (torch.as_tensor(part).to(error) for part in (match.values, match.updates))
    first = (lambda x: x[0]) if single else (lambda x: x)
    return Trained(
        {name: first(part) for name, part in parameters._asdict().items()},
        {"step": torch.tensor(steps, device=error.device), **{name: first(part.T) for name, part in history.items()}},
        first(values), first(updates), first(~error[-1].isfinite()),
    )  # fmt: skip


# Similarity


def procrustes(x: Array, y: Array) -> Tensor:
    """Angular Procrustes distance in [0, 1] of x (points, p) and y (points, q), rows paired; 0: equal up to rotation, scale, shift."""
    return similarity.procrustes(*_paired("procrustes", x, y))


def cka(x: Array, y: Array) -> Tensor:
    """Linear centred kernel alignment in [0, 1] of x (points, p) and y (points, q); 1: equal up to rotation, scale, shift."""
    return similarity.cka(*_paired("cka", x, y))


def cca(x: Array, y: Array, *, components: int = 20) -> Tensor:
    """Mean canonical correlation of the first principal components of x (points, p) and y (points, q)."""
    check("cca", SETTINGS, components=components)
    return similarity.cca(*_paired("cca", x, y), components=components)


def dsa(
    x: Array, y: Array, *, components: int = 10, delays: int = 5, rank: int = 10, alignment_steps: int = 200
) -> Tensor:
    """DSA angle in radians of the dynamics of x (conditions, time, p) and y (conditions, time, q); 0: equal up to a rotation.

    Each is reduced to its first principal components, embedded with delays, and fitted by linear dynamics of that rank.
    """
    check("dsa", SETTINGS, components=components, delays=delays, rank=rank, alignment_steps=alignment_steps)
    found = []
    for name, part in (("x", x), ("y", y)):
        part = _tensor("dsa", name, part, 3)
        points, kept = part.shape[0] * (part.shape[1] - delays + 1), min(components, part.shape[2])
        if part.shape[1] <= delays or rank > min(points, kept * delays):
            raise SettingError(
                f"dsa: `{name}` of shape {tuple(part.shape)} is too short for {delays} delays and rank {rank}"
            )
        flat = similarity.centred(part.flatten(0, 1))
        left, sizes, _ = torch.linalg.svd(flat, full_matrices=False)
        scores = (left * sizes)[:, :kept].unflatten(0, part.shape[:2])
        found.append(alignment.linear_dynamics(scores[None], delays=delays, rank=rank))
    return alignment.dynamical_distance(*found, steps=alignment_steps)[0]


def noise_floor(y: Array, *, half: int | None = None, splits: int = 100, seed: int = 0) -> Tensor:
    """(splits,) Procrustes distances of two disjoint random halves of the units of y (conditions, time, units).

    half: units in each half, by default as many as there are. What a model's distance to one half can be held against.
    """
    y = _tensor("noise_floor", "y", y, 3)
    half = y.shape[2] // 2 if half is None else half
    check("noise_floor", SETTINGS, half=half, splits=splits)
    _seed("noise_floor", seed)
    if 2 * half > y.shape[2]:
        raise SettingError(f"noise_floor: `half` must be at most half of the {y.shape[2]} units, got {half}")
    halves = similarity.random_halves(STREAMS.numpy("halves", seed), y.shape[2], half, splits).to(y.device)
    rows = y.flatten(0, 1)
    return similarity.half_distances(rows, rows, halves[:, 1], halves[:, 0])


# What is refused


def _rule(owner: str, rule: str, *, activation: str, dale: bool, **settings: Any) -> Rule:
    check(owner, {"rule": RULE, **SETTINGS}, rule=rule, activation=activation, dale=dale, **settings)
    kept = RULES[rule]
    if kept.path == "cells" and not (dale and activation == "relu"):
        raise SettingError(f"{owner}: rule {rule} needs `activation` relu and `dale` True, got {activation} and {dale}")
    return kept


def _sizes(owner: str, **sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SettingError(f"{owner}: `{name}` must be a whole number of at least 1, got {value!r}")


def _seed(owner: str, seed: Any) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise SettingError(f"{owner}: `seed` must be a whole number, got {seed!r}")


def _trials(
    owner: str, inputs: Tensor, targets: Tensor, mask: Tensor | None, recordings: Array | None, window: slice
) -> tuple[Batch, Tensor | None]:
    """The trials with time first and one run's axis, and the recordings as condition-major rows."""
    for name, part in (("inputs", inputs), ("targets", targets)):
        if not isinstance(part, Tensor) or part.dim() != 3 or not part.is_floating_point():
            raise SettingError(
                f"{owner}: `{name}` must be a floating-point tensor (trials, time, channels), got {_shown(part)}"
            )
    if targets.shape[:2] != inputs.shape[:2] or targets.dtype != inputs.dtype:
        raise SettingError(
            f"{owner}: `targets` must fit the trials, steps and dtype of `inputs`, got {_shown(targets)} and {_shown(inputs)}"
        )
    mask = torch.ones_like(inputs[..., 0]) if mask is None else mask.to(inputs)
    if mask.shape != inputs.shape[:2] or not bool(mask.any()):
        raise SettingError(f"{owner}: `mask` must be {tuple(inputs.shape[:2])} and not all 0, got {_shown(mask)}")
    batch = Batch(inputs.transpose(0, 1)[None], targets.transpose(0, 1)[None], mask.T[None])
    if recordings is None:
        return batch, None
    rates = _tensor(owner, "recordings", recordings, 3).to(inputs)
    steps = len(range(*window.indices(inputs.shape[1])))
    if rates.shape[:2] != (inputs.shape[0], steps):
        raise SettingError(
            f"{owner}: `recordings` must hold {inputs.shape[0]} conditions (the trials) and {steps} steps (`window`), got {tuple(rates.shape)}"
        )
    return batch, rates.flatten(0, 1)


def _tensor(owner: str, name: str, x: Array, dimensions: int) -> Tensor:
    """x as a floating-point tensor; NumPy arrays and whole numbers are taken."""
    if not isinstance(x, (Tensor, np.ndarray)) or x.ndim != dimensions:
        raise SettingError(f"{owner}: `{name}` must be an array of {dimensions} dimensions, got {_shown(x)}")
    x = torch.as_tensor(x).detach()
    x = x if x.is_floating_point() else x.double()
    if not bool(x.isfinite().all()):
        raise SettingError(f"{owner}: `{name}` holds values that are not finite")
    return x


def _paired(owner: str, x: Array, y: Array) -> tuple[Tensor, Tensor]:
    x, y = _tensor(owner, "x", x, 2), _tensor(owner, "y", y, 2)
    if len(x) != len(y) or len(x) < 2:
        raise SettingError(f"{owner}: `x` and `y` must pair at least 2 points in rows, got {len(x)} and {len(y)} rows")
    kind = torch.promote_types(x.dtype, y.dtype)
    return x.to(kind), y.to(x.device, kind)


def _shown(x: Any) -> str:
    return f"{x.dtype} {tuple(x.shape)}" if isinstance(x, (Tensor, np.ndarray)) else type(x).__name__
