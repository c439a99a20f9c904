"""The post-layer-norm transformer layer of BERT and RoBERTa, whole or for its first token only. No dropout.

Parameters are dicts under the names of the published checkpoints. Axes: R rows (independent parameters: seeds) where a
function says so; B texts, T tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

Parameters = Mapping[str, Tensor]


def norm(x: Tensor, p: Parameters, name: str, eps: float) -> Tensor:
    return layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps)


def dense(x: Tensor, p: Parameters, name: str) -> Tensor:
    return linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def layer(x: Tensor, mask: Tensor, p: Parameters, prefix: str, *, heads: int, eps: float) -> Tensor:
    """One encoder layer. x: (B, T, H); mask: (B, T), True at real tokens; p: names below `prefix`."""
    batch, tokens, hidden = x.shape

    def by_head(name: str) -> Tensor:
        return dense(x, p, f"{prefix}attention.self.{name}").view(batch, tokens, heads, -1).transpose(1, 2)

    q, k, v = by_head("query"), by_head("key"), by_head("value")
    # Written out: the fused kernels have no second derivative.
    scores = (q @ k.mT) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
    attended = (weights @ v).transpose(1, 2).reshape(batch, tokens, hidden)
    x = norm(x + dense(attended, p, f"{prefix}attention.output.dense"), p, f"{prefix}attention.output.LayerNorm", eps)
    up = gelu(dense(x, p, f"{prefix}intermediate.dense"))
    return norm(x + dense(up, p, f"{prefix}output.dense"), p, f"{prefix}output.LayerNorm", eps)


def first_token(x: Tensor, mask: Tensor, p: Parameters, *, heads: int, eps: float) -> Tensor:
    """The layer's output at token 0: (R, B, T, H) -> (R, B, H), with parameters (R, ...) of its own for every row.

    Only one query a head is needed. Its scores are (W_k^T q) . x_t, and the values are averaged before W_v is applied,
    so no token but the first is ever multiplied by a weight matrix: about ten times fewer operations. Adding q . b_k to
    all scores of a query changes no weight, so b_k is left out (its gradient is zero).
    """
    rows, batch, _, hidden = x.shape

    def rowwise(x: Tensor, name: str) -> Tensor:
        return torch.baddbmm(p[f"{name}.bias"][:, None], x, p[f"{name}.weight"].mT)

    def normed(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], eps=eps) * p[f"{name}.weight"][:, None] + p[f"{name}.bias"][:, None]

    first = x[:, :, 0]  # (R, B, H)
    q = rowwise(first, "attention.self.query").view(rows, batch, heads, -1)
    w_k, w_v = (p[f"attention.self.{name}.weight"].view(rows, heads, -1, hidden) for name in ("key", "value"))
    back = torch.einsum("rbnd,rndh->rbnh", q, w_k)  # W_k^T q, a head's query in the space of x
    scores = torch.einsum("rbnh,rbth->rbnt", back, x) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(~mask[:, :, None], -torch.inf).softmax(-1)
    mean = torch.einsum("rbnt,rbth->rbnh", weights, x)
    attended = torch.einsum("rbnh,rndh->rbnd", mean, w_v).reshape(rows, batch, hidden)
    attended = attended + p["attention.self.value.bias"][:, None]
    y = normed(first + rowwise(attended, "attention.output.dense"), "attention.output.LayerNorm")
    up = gelu(rowwise(y, "intermediate.dense"))
    return normed(y + rowwise(up, "output.dense"), "output.LayerNorm")
