"""Temporal credit assignment: one hand-written adjoint for every rule, and e-prop's forward form.

With d_t = dL/dy_t, phi'_t = phi'(a_t) and the penalty r mean(h^2) over B T N entries,

    lam_t = phi'_t (F^T d_t + 2 r h_t / (B T N)) + (1 - alpha) lam_{t+1} + s_t alpha psi_t (M^T lam_{t+1}),

and the gradient of (W U b) is alpha sum_t lam_t (h_{t-1}, x_t, 1)^T. Rules differ in F (readout or fixed random feedback), in M
and psi (the path through the recurrent weights), and in s_t, which cuts that path. Without it (s = 0) the sum over later
steps moves to the sender: z^_t = (1 - alpha) z^_{t-1} + alpha z_t is the eligibility trace, and the gradient is
sum_t phi'_t (F^T d_t + ...) z^_t^T, with nothing to run backwards. docs/papers/eprop.md derives both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.eprop.network import ACTIVATIONS, EXCITATORY, Activity, Parameters, Wiring


class Rule(NamedTuple):
    """Which parts of the exact gradient a rule keeps.

    path: of the error through the recurrent weights: "exact" (W), "cells" (W averaged over pairs of cell types, slope
    constant) or "none". window: the path is cut every so many steps, counted from the end; 0: never.
    random_feedback: the error reaches units through a fixed random matrix, not the readout.
    """

    path: str = "exact"
    window: int = 0
    random_feedback: bool = False


RULES = {
    "bptt": Rule(),
    "eprop": Rule(path="none"),
    "tbptt": Rule(window=10),
    "fa": Rule(random_feedback=True),
    "rflo": Rule(path="none", random_feedback=True),
    "modprop": Rule(path="cells"),
}

CELL_TYPES, CELL_SLOPE = 8, 0.2
"""ModProp: 8 excitatory and 8 inhibitory cell types; psi, the constant that stands for the slope (official code)."""


class Errors(NamedTuple):
    """What reaches the units from the loss."""

    output: Tensor  # (K, T, B, O) dL/dy
    penalty: Tensor  # (K,) r; its gradient in h_t is 2 r h_t / (B T N)
    hidden: Tensor | None = None  # (K, T, B, N) dL/dh_1 .. dL/dh_T of a loss of one's own that looks at the rates


def gradients(
    rule: Rule, parameters: Parameters, W: Tensor, activity: Activity, errors: Errors, feedback: Tensor | None,
    *, alpha: float, activation: str, wiring: Wiring, cells: Tensor | None = None,
) -> Parameters:  # fmt: skip
    """The rule's stand-in for the gradient; with rule bptt, the gradient.

    W: the effective recurrent matrix. feedback: (K, O, N), for random feedback. cells: `cell_averaging`, for ModProp.
    """
    F = feedback if rule.random_feedback else parameters.V
    options = {"alpha": alpha, "activation": activation}
    if rule.path == "none":
        sums, start = traced(F, activity, errors, **options)  # pyright: ignore[reportArgumentType]: `learner` gives a rule its feedback
    else:
        M = W if rule.path == "exact" else cells @ W @ cells.mT  # pyright: ignore[reportOptionalOperand, reportOptionalMemberAccess]: likewise
        slope = None if rule.path == "exact" else CELL_SLOPE
        sums, start = adjoint(F, M, activity, errors, path_slope=slope, window=rule.window, **options)  # pyright: ignore[reportArgumentType]: likewise
    N, d = W.shape[-1], errors.output.flatten(1, 2)
    V = torch.bmm(d.mT, activity.hidden.flatten(1, 2))
    dW = wiring.learned(sums[..., :N], parameters.W)
    return Parameters(dW, sums[..., N:-1], sums[..., -1], V, d.sum(1), start)


def adjoint(
    F: Tensor, M: Tensor, activity: Activity, errors: Errors,
    *, alpha: float, activation: str, path_slope: float | None = None, window: int = 0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Backwards in time. Returns the gradient of (W U b), (K, N, P), and that of the start, (K, N).

    path_slope: psi, a constant; None: phi' itself. The path into step t + 1 (its input is number t, from 0) is cut where
    T - t is a multiple of `window`.
    """
    K, T, B, N = activity.hidden.shape
    slope = ACTIVATIONS[activation].slope
    pull = (2 * errors.penalty / (B * T * N)).reshape(-1, 1, 1)
    both = torch.cat([alpha * M, F], dim=-2)  # (K, N + O, N): path and feedback in one product
    # Slot t holds lam_{t+1} and d_t, the two that make lam_t. (lam_{T+1} = 0, d_0 = 0.)
    back = activity.sent.new_empty(K, T + 1, B, N + F.shape[-2])
    back[:, 1:, :, N:] = errors.output
    back[:, 0, :, N:] = 0
    back[:, T, :, :N] = 0
    for t in range(T, -1, -1):
        h, later = activity.sent[:, t, :, :N], back[:, t, :, :N]
        cut = bool(window) and (T - t) % window == 0
        if cut:
            reached = torch.bmm(back[:, t, :, N:], F)
        elif path_slope is None:
            reached = torch.bmm(back[:, t], both)
        else:
            reached = torch.bmm(back[:, t, :, N:], F)
        if t:  # h_0 is not in the penalty
            reached.addcmul_(h, pull)
            if errors.hidden is not None:
                reached.add_(errors.hidden[:, t - 1])
        reached.mul_(slope(h))
        if path_slope is not None and not cut:
            reached.baddbmm_(later, M, alpha=alpha * path_slope)
        if t == 0:
            start = reached.add_(later, alpha=1 - alpha).sum(1)
        else:
            torch.add(reached, later, alpha=1 - alpha, out=back[:, t - 1, :, :N])
    lam = back[:, :T, :, :N].flatten(1, 2)
    return torch.bmm(lam.mT, activity.sent[:, :T].flatten(1, 2)).mul_(alpha), start  # pyright: ignore[reportPossiblyUnboundVariable]: t = 0 comes last


def traced(F: Tensor, activity: Activity, errors: Errors, *, alpha: float, activation: str) -> tuple[Tensor, Tensor]:
    """Forwards in time: eligibility traces of the senders, one product with the units' errors. Returns as `adjoint`."""
    K, T, B, N = activity.hidden.shape
    slope = ACTIVATIONS[activation].slope
    pull = (2 * errors.penalty / (B * T * N)).reshape(-1, 1, 1)
    trace = torch.empty_like(activity.sent)
    trace[:, 0] = 0
    local = torch.bmm(errors.output.flatten(1, 2), F).unflatten(1, (T, B))
    if errors.hidden is not None:
        local = local + errors.hidden
    start, decay = activity.sent.new_zeros(K, N), 1.0
    for t in range(T):
        torch.lerp(trace[:, t], activity.sent[:, t], alpha, out=trace[:, t + 1])
        h, decay = activity.hidden[:, t], decay * (1 - alpha)
        local[:, t].addcmul_(h, pull).mul_(slope(h))
        start.add_(local[:, t].sum(1), alpha=decay)
    return torch.bmm(local.flatten(1, 2).mT, trace[:, 1:].flatten(1, 2)), start


def cell_averaging(units: int, like: Tensor) -> Tensor:
    """(N, N) the projection A that averages over cell types: A W A^T is W averaged over pairs of types.

    8 runs of neighbours among the excitatory units and 8 among the inhibitory ones, as even as they divide.
    """
    excitatory = round(EXCITATORY * units)
    kinds = [torch.arange(n) * CELL_TYPES // max(n, 1) for n in (excitatory, units - excitatory)]
    kind = torch.cat([kinds[0], kinds[1] + CELL_TYPES])
    same = (kind[:, None] == kind).to(like.dtype)
    return (same / same.sum(1, keepdim=True)).to(like.device)
