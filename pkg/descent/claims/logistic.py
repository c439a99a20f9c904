"""The 50 % point of a logistic curve through shares."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-6  # holds the logistic fit finite when the shares are separated; moves the 50 % point by less than 1e-5


def half_point(x: np.ndarray, share: np.ndarray, steps: int = 60) -> np.ndarray:
    """(..., 1): where the logistic curve fitted to the shares (..., C) at x (..., C) passes 1/2.

    Maximum likelihood by Newton's method with a small ridge, halved where a step would not lower the loss; NaN where the
    curve is flat. Every setting counts alike: each has the same number of seeds.
    """
    centre, width = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
    z = (x - centre) / np.where(width > 0, width, 1.0)
    a, b = np.zeros(z.shape[:-1]), np.zeros(z.shape[:-1])

    def loss(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        t = a[..., None] + b[..., None] * z
        return (np.logaddexp(0, t) - share * t).mean(-1) + RIDGE * (a * a + b * b) / 2

    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(a[..., None] + b[..., None] * z, -500, 500)))
        w, r = p * (1 - p), p - share
        ga, gb = r.mean(-1) + RIDGE * a, (r * z).mean(-1) + RIDGE * b
        haa, hab, hbb = w.mean(-1) + RIDGE, (w * z).mean(-1), (w * z * z).mean(-1) + RIDGE
        det = haa * hbb - hab * hab
        da, db = (hbb * ga - hab * gb) / det, (haa * gb - hab * ga) / det
        size, before = np.ones_like(a), loss(a, b)
        for _ in range(30):
            worse = loss(a - size * da, b - size * db) > before + 1e-15
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        a, b = a - size * da, b - size * db
    flat = np.abs(b) < 1e-9
    return np.where(flat, np.nan, centre[..., 0] - width[..., 0] * a / np.where(flat, 1.0, b))[..., None]
