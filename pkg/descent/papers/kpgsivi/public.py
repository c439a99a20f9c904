"""Semi-implicit variational inference for a log density of one's own: `fit`.

A thin surface over the same `init` and `step` that the study runs; limits are those of settings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from descent.core.context import Context
from descent.core.errors import SettingError, listed, nearest
from descent.core.iterate import iterate
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.fitting import METHODS, evenly
from descent.papers.kpgsivi.measures import reverse_divergence
from descent.papers.kpgsivi.modules import generator
from descent.papers.kpgsivi.problem import Problem
from descent.papers.kpgsivi.settings import SETTINGS

OFFERED = tuple(name for name in METHODS if name != "asvgd_released")
LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Posterior:
    """A fitted semi-implicit distribution. parameters: (P,), or (S, P) for several seeds."""

    family: Family
    parameters: Tensor

    def sample(self, shape: Sequence[int] = (), *, seed: int = 0) -> Tensor:
        """Draws (*shape, d), or (S, *shape, d); the same call gives the same draws."""
        count = int(torch.Size(shape).numel())
        streams, m, d = Streams("kpgsivi"), self.family.latent, self.family.dim
        noise = streams.normal("public sample", (seed,), (count, m + d), dtype=self._rows.dtype).to(self._rows.device)
        noise = noise.expand(len(self._rows), -1, -1)
        z = self.family.sample(self._rows, noise[..., :m].contiguous(), noise[..., m:].contiguous())
        return self._shaped(z.reshape(-1, *shape, d))

    def log_prob(self, z: Tensor, *, components: int = 4000, seed: int = 0) -> Tensor:
        """log q (n,), or (S, n), at z (n, d), q estimated by a mixture over `components` latents: a lower estimate on average."""
        latents = Streams("kpgsivi").normal(
            "public components", (seed,), (components, self.family.latent), dtype=self._rows.dtype
        )
        rows = len(self._rows)
        points = z.to(self._rows).expand(rows, *z.shape[-2:])
        value = self.family.log_density(self._rows, points, latents.to(self._rows.device).expand(rows, -1, -1))
        return self._shaped(value)

    def module(self, row: int = 0) -> nn.Module:
        """The fitted network, latent to mean, as a module of its own, of the seed in this place."""
        return self.family.network.module(self._rows[row])

    @property
    def _rows(self) -> Tensor:
        return self.parameters if self.parameters.ndim == 2 else self.parameters[None]

    def _shaped(self, x: Tensor) -> Tensor:
        return x if self.parameters.ndim == 2 else x[0]


class Fit(NamedTuple):
    """What `fit` returns.

    history: "step" (T,) and, (T,) or (T, S) each, "divergence", KL(q || p) up to the constant of log p, and "log_scale", the mean log
    sigma. diverged: whether the parameters left the finite range; it is never raised.
    """

    posterior: Posterior
    history: dict[str, Tensor]
    diverged: Tensor


class OwnTarget:
    """A user's log density (n, d) -> (n,) as a Target; scores by autograd where none is given."""

    def __init__(self, log_prob: LogDensity, dim: int, score: LogDensity | None):
        self.own, self.dim, self.own_score = log_prob, dim, score

    def log_prob(self, z: Tensor) -> Tensor:
        return self.own(z.reshape(-1, self.dim)).view(z.shape[:-1])

    def score(self, z: Tensor) -> Tensor:
        flat = z.reshape(-1, self.dim)
        if self.own_score is not None:
            return self.own_score(flat).view(z.shape)
        with torch.enable_grad():
            flat = flat.detach().requires_grad_()
            return torch.autograd.grad(self.own(flat).sum(), flat)[0].view(z.shape)

    def score_pull(self, z: Tensor, v: Tensor) -> Tensor:
        with torch.enable_grad():
            flat = z.reshape(-1, self.dim).detach().requires_grad_()
            if self.own_score is not None:
                score = self.own_score(flat)
            else:
                (score,) = torch.autograd.grad(self.own(flat).sum(), flat, create_graph=True)
            if not score.requires_grad:  # a score that does not depend on z
                return torch.zeros_like(z)
            return torch.autograd.grad((score * v.reshape(flat.shape)).sum(), flat)[0].view(z.shape)


def fit(
    log_prob: LogDensity,
    dim: int,
    *,
    method: str = "kpg",
    score: LogDensity | None = None,
    network: nn.Module | None = None,
    latent: int | None = None,
    hidden: int | None = None,
    steps: int = 2000,
    batch: int = 64,
    lr: float = 2e-3,
    log_variance: float = -2.0,
    seed: int | Sequence[int] = 0,
    callback: Callable[[int, dict[str, Tensor]], Any] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Fit:
    """Fit a semi-implicit distribution to an unnormalised log density on R^dim.

    log_prob: z (n, dim) -> (n,), differentiable unless `score`, z (n, dim) -> (n, dim), is given (KSIVI and SIVI-SM differentiate the
    score as well). network: latents (n, latent) -> means (n, dim), trained from the parameters it has (a copy; for every seed the same
    ones), in evaluation mode; empty: two hidden ReLU layers of `hidden` units, 50 if empty, from a seed's own start. latent: dimension
    of the latent, dim + 1 if empty (100 at most). log_variance: log sigma^2 at the start;
    below the scale of the target's finest structure is a good choice. seed: several give a leading axis, each row equal to its single
    run within rounding. dtype: the network's, or torch's default, if empty. callback(step, metrics) is called 20 times on the way; raising StopIteration in it ends the run there.
    Raises SettingError before anything is run.
    """
    first = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    dtype = dtype or (torch.get_default_dtype() if first is None else first.dtype)
    seeds = _checked(log_prob, dim, method, score, latent, hidden, steps, batch, lr, log_variance, seed, dtype, device)
    several = not isinstance(seed, int)
    target = OwnTarget(log_prob, dim, score)
    streams, device = Streams("kpgsivi"), torch.device(device)
    latent, own = latent or min(dim + 1, 100), None
    if network is not None:
        if hidden is not None:
            raise SettingError("fit: give `hidden` or `network`, not both")
        own = generator(network, latent, dim, dtype, device, "fit")
    family = Family(latent, hidden or 50, dim, own=own)
    problem = Problem(target, family, seeds, streams, dtype=dtype)
    built = METHODS[method](problem, batch=batch, step_size=lr, decay=0.9, decay_every=max(1, steps // 10))
    m = family.latent
    watch = streams.normal("public watch", seeds, (500, m + dim), dtype=dtype).to(device)
    mixture = streams.normal("public mixture", seeds, (1000, m), dtype=dtype).to(device)
    latest: list[Any] = [built.init(problem.start(log_variance).to(device))]
    at, seen = evenly(steps, 20), {"step": [], "divergence": [], "log_scale": []}

    def measure(state: Any, info: Any) -> dict[str, Tensor]:
        latest[0] = state
        z = family.sample(state.params, watch[..., :m], watch[..., m:])
        metrics = {
            "divergence": reverse_divergence(family, state.params, z, target.log_prob(z), mixture),
            "log_scale": family.scale(state.params)[:, 0].log().mean(-1),
        }
        metrics = {name: value if several else value[0] for name, value in metrics.items()}
        seen["step"].append(torch.tensor(at[len(seen["step"])]))
        for name, value in metrics.items():
            seen[name].append(value)
        if callback is not None:
            callback(at[len(seen["step"]) - 1], metrics)
        return {}

    with suppress(StopIteration):
        iterate(Context(device, streams, {}), "fit", latest[0], built, steps=steps, block=50, measure=measure, at=at)
    params = latest[0].params
    diverged = ~params.isfinite().all(-1)
    history = {name: torch.stack(values) for name, values in seen.items()}
    return Fit(Posterior(family, params if several else params[0]), history, diverged if several else diverged[0])


def _checked(
    log_prob, dim, method, score, latent, hidden, steps, batch, lr, log_variance, seed, dtype, device
) -> tuple[int, ...]:
    """The seeds, after everything that can be refused has been."""
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
        raise SettingError(f"fit: `dim` must be a whole number of at least 1, got {dim!r}")
    if method not in OFFERED:
        raise SettingError(f"fit: `method` must be {listed(OFFERED)}, got {method!r}{nearest(method, OFFERED)}")
    try:
        check("fit", SETTINGS, latent=1 if latent is None else latent, hidden=50 if hidden is None else hidden, steps=steps, batch=batch,
              step_size=lr, log_variance=log_variance)  # fmt: skip
    except SettingError as error:
        raise SettingError(str(error).replace("`step_size`", "`lr`")) from None
    seeds = (seed,) if isinstance(seed, int) else tuple(seed) if isinstance(seed, Sequence) else ()
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds):
        raise SettingError(f"fit: `seed` must be a whole number or several of them, got {seed!r}")
    if dtype not in (torch.float32, torch.float64):
        raise SettingError(f"fit: `dtype` must be torch.float32 or torch.float64, got {dtype}")
    trial = torch.zeros((2, dim), dtype=dtype, device=device)
    for name, function, shape in (("log_prob", log_prob, (2,)), ("score", score, (2, dim))):
        if function is None and name == "score":
            continue
        if not callable(function):
            raise SettingError(f"fit: `{name}` must be a function of points (n, {dim}), got {type(function).__name__}")
        got = function(trial.clone())
        if not isinstance(got, Tensor) or tuple(got.shape) != shape or got.dtype != dtype:
            said = f"{tuple(got.shape)} of {got.dtype}" if isinstance(got, Tensor) else type(got).__name__
            raise SettingError(f"fit: `{name}` of points (2, {dim}) must be a tensor {shape} of {dtype}, got {said}")
    if score is None and not _differentiable(log_prob, trial):
        raise SettingError("fit: `log_prob` is not differentiable by autograd; give `score` as well")
    return seeds


def _differentiable(log_prob: LogDensity, trial: Tensor) -> bool:
    with torch.enable_grad():
        return bool(log_prob(trial.clone().requires_grad_()).requires_grad)
