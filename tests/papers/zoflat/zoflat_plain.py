"""The transformer layer as a textbook has it: one text, one head, one query at a time, numpy. What the fast one must equal."""

from __future__ import annotations

import math

import numpy as np


def plain_norm(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def plain_gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def plain_layer(x, real, p, heads, eps):
    """x: (T, H) of one text; real: (T,) bool; p: numpy parameters of one layer."""

    def dense(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(x, name):
        return plain_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], eps)

    q, k, v = (dense(x, f"attention.self.{name}") for name in ("query", "key", "value"))
    size = x.shape[1] // heads
    attended = np.zeros_like(x)
    for h in range(heads):
        own = slice(h * size, (h + 1) * size)
        for t in range(len(x)):
            scores = np.array([q[t, own] @ k[s, own] / math.sqrt(size) for s in range(len(x)) if real[s]])
            weights = np.exp(scores - scores.max())
            attended[t, own] = weights / weights.sum() @ v[real][:, own]
    x = norm(x + dense(attended, "attention.output.dense"), "attention.output.LayerNorm")
    return norm(x + dense(plain_gelu(dense(x, "intermediate.dense")), "output.dense"), "output.LayerNorm")
