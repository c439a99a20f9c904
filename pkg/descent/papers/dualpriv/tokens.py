"""Mechanism 1: prune and fuse visual tokens (Dual-Priv Pruning; the equations are those of VisionZip).

Keep CLS and the K patches that CLS attends to most; of the rest take k evenly spaced centres, let every other token
join the centre most similar to it, and add to each centre the mean of its members. The encoder is frozen and public,
so the result is a fixed transform of one record: it is computed once for a data set and costs no privacy.

VisionZip (Yang et al., arXiv 2412.04467) compares head-averaged keys; we compare the tokens, as the paper's text says.
Departure from the paper's default: its fusion noise is a setting (`noise`), since it protects nothing formally.

Axes: n records, P patches, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from descent.core.errors import SettingError


def prune(hidden: Tensor, score: Tensor, dominant: int, contextual: int, noise: Tensor | None = None) -> Tensor:
    """V' = [CLS; dominant patches in raster order; fused tokens], (n, 1 + dominant + contextual, d).

    hidden: H (n, 1 + P, d), CLS first. score: (n, P), larger is kept (attention of CLS, or random for the control).
    dominant, contextual: the paper's K and k. noise: (n, contextual, d), added to the fused tokens.
    Raises SettingError unless 0 <= dominant, contextual and dominant + contextual <= P.
    """
    patches = hidden.shape[1] - 1
    if not 0 <= dominant <= patches or not 0 <= contextual <= patches - dominant:
        raise SettingError(
            f"dualpriv: `dominant` + `contextual` must keep at most the {patches} patches there are, "
            f"got {dominant} + {contextual}"
        )
    kept, rest = choose(score, dominant)
    parts = [hidden[:, :1], _take(hidden[:, 1:], kept)]
    if contextual:
        fused = fuse(_take(hidden[:, 1:], rest), contextual)
        parts.append(fused if noise is None else fused + noise)
    return torch.cat(parts, 1)


def choose(score: Tensor, dominant: int) -> tuple[Tensor, Tensor]:
    """Positions of the `dominant` largest scores (n, K) and of the others (n, P - K), each in raster order."""
    order = score.argsort(dim=-1, descending=True, stable=True)  # a tie goes to the earlier patch
    return order[:, :dominant].sort(-1).values, order[:, dominant:].sort(-1).values


def fuse(rest: Tensor, contextual: int) -> Tensor:
    """c_i = centre_i + mean of the tokens that join it, (n, contextual, d); a centre is not its own member."""
    count = rest.shape[1]
    step = max(1, count // contextual)
    place = torch.arange(count, device=rest.device)
    is_centre = (place % step == 0) & (place < step * contextual)
    centres = rest[:, : step * contextual : step]
    similarity = functional.normalize(rest, dim=-1) @ functional.normalize(centres, dim=-1).transpose(-1, -2)
    joins = functional.one_hot(similarity.argmax(-1), contextual).to(rest.dtype)  # (n, R, k)
    joins = joins * ~is_centre[:, None]
    members = joins.sum(1)[..., None]
    # An empty cluster adds nothing.
    return centres + joins.transpose(-1, -2) @ rest / members.clamp(min=1)


def digit_recall(score: Tensor, on_digit: Tensor, dominant: int) -> Tensor:
    """Share of the digit's patches among the kept ones, a mean over records: a diagnostic. 0-dim."""
    kept, _ = choose(score, dominant)
    hits = on_digit.gather(1, kept).sum(-1)
    return (hits / on_digit.sum(-1)).mean()


def _take(tokens: Tensor, places: Tensor) -> Tensor:
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
