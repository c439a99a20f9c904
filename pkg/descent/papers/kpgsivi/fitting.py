"""What the experiments have in common: from a variant to its target, its problem, its method and its run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate
from descent.core.job import Variant
from descent.core.method import Method
from descent.core.streams import Streams
from descent.papers.kpgsivi.bound import sivi
from descent.papers.kpgsivi.critic import sivism
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.importance import kpgis
from descent.papers.kpgsivi.kernelised import asvgd, asvgd_released, kpg
from descent.papers.kpgsivi.posterior_score import aisivi, bsivi, uivi
from descent.papers.kpgsivi.problem import Problem
from descent.papers.kpgsivi.stein import ksivi
from descent.papers.kpgsivi.targets import (
    OBSERVED,
    Banana,
    Diffusion,
    LogisticRegression,
    Target,
    multimodal,
    two_modes,
    x_shaped,
)
from descent.toolbox.capture import captured

METHODS: dict[str, Callable[..., Method]] = {
    "kpg": kpg,
    "kpgis": kpgis,
    "asvgd": asvgd,
    "asvgd_released": asvgd_released,
    "ksivi": ksivi,
    "sivi": sivi,
    "bsivi": bsivi,
    "uivi": uivi,
    "sivism": sivism,
    "aisivi": aisivi,
}
INTERNALS = ("bandwidth", "share", "effective", "overflow")
"""Fields of a method's Info that are recorded where it has them."""


def target_of(params: Mapping[str, Any], context: Context, repeat: int = 1) -> Target:
    """The target that a variant names, on the context's device; `two_modes` for `repeat` rows."""
    device, name = context.device, params["target"]
    if name == "logistic":
        data = context.data["waveform"]
        features, labels = (
            torch.tensor(np.asarray(data[f"train_{part}"]), dtype=torch.float32).to(device)
            for part in ("features", "labels")
        )
        return LogisticRegression(features, labels)
    if name == "diffusion":
        return diffusion(context.streams, params["path_steps"], params["observations"], device)
    if name == "two_modes":
        return two_modes(params["left"], [params["distance"]] * repeat, device)
    return {"banana": Banana, "multimodal": multimodal, "x_shaped": x_shaped}[name](device)


def diffusion(streams: Streams, steps: int, observations: int, device: torch.device | str = "cpu") -> Diffusion:
    """The official observations for 20 of 100 steps; others are drawn as theirs were: the true path's drift is beta u (1 - u^2),
    without the model's denominator."""
    every = steps // observations
    if (steps, observations) == (100, 20):
        return Diffusion(OBSERVED, every, device=device)
    random, u, path = streams.numpy("path", 0, steps, observations), 0.0, []
    for noise in random.standard_normal(steps):
        u = u + 10 * u * (1 - u * u) * 0.01 + 0.1 * noise
        path.append(u)
    observed = np.array(path)[every - 1 :: every][:observations]
    return Diffusion(observed + 0.1 * random.standard_normal(len(observed)), every, device=device)


def problem_of(variant: Variant, target: Target, context: Context, copies: int = 1) -> Problem:
    """The variant's problem; copies: settings that share the program."""
    p = variant.params
    family = Family(p["latent"], p["hidden"], target.dim, p["floor"])
    return Problem(target, family, variant.seeds, context.streams, copies)


def method_of(variant: Variant, problem: Problem) -> Method:
    """The variant's method with the settings of its card."""
    return METHODS[variant.method](problem, **variant.own)


def fit(
    context: Context, name: str, variant: Variant, problem: Problem, start: Tensor, measure: Callable[[Tensor], dict],
    at: Iterable[int],
) -> tuple[Tensor, Trace]:  # fmt: skip
    """Train a variant's method from the parameters `start` (R, P, on the host): the last parameters and the curves.

    measure(params) -> metric: (R,); what the step reports of itself (INTERNALS) is added.
    """
    method = method_of(variant, problem)
    method = replace(method, step=captured(method.step))

    def watch(state: Any, info: Any) -> dict[str, Tensor]:
        own = {name: getattr(info, name) for name in INTERNALS if hasattr(info, name)}
        return {**measure(state.params), **own}

    p = variant.params
    state, trace = iterate(
        context, name, method.init(start.to(context.device)), method, steps=p["steps"], block=p["block"],
        measure=watch, at=at,
    )  # fmt: skip
    return state.params, trace


def evenly(steps: int, points: int) -> list[int]:
    """Step numbers 1 and `points` evenly spaced ones up to the last."""
    return sorted({1, *np.linspace(0, steps, points + 1).round().astype(int)[1:].tolist()})


def normals(context: Context, purpose: str, seeds: Sequence[int], *shape: int) -> Tensor:
    """Standard normals (S, *shape), float32, on the device."""
    return context.streams.normal(purpose, seeds, shape, dtype=torch.float32).to(context.device)


def uniforms(context: Context, purpose: str, seeds: Sequence[int], *shape: int) -> Tensor:
    """Uniforms (S, *shape), float32, on the device."""
    drawn = [torch.rand(shape, generator=context.streams.torch(purpose, seed)) for seed in seeds]
    return torch.stack(drawn).to(context.device)


def directions(context: Context, count: int, dim: int) -> Tensor:
    """Random directions (count, dim) of the sliced distance: the same for all seeds, methods and targets."""
    return normals(context, "directions", (0,), count, dim)[0]


def mean_log_scale(family: Family, params: Tensor) -> Tensor:
    """Mean over coordinates of log sigma (R,)."""
    return family.scale(params)[:, 0].log().mean(-1)
