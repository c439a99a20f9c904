"""The slow twins of the wdro tests: one datum, one draw and one step at a time, in NumPy, from the paper's formulas."""

import math

import numpy as np


def squared(v, y):
    return (v - y) ** 2


def squared_slope(v, y):
    return 2 * (v - y)


def logistic(v, y):
    return np.logaddexp(0.0, -y * v)


def logistic_slope(v, y):
    return -y / (1 + np.exp(y * v))


def supremum(loss, w, b, lam, x, y, reach, count=200_001):
    """sup over x' = x + t w/|w| of f - lam c by a dense grid over t in [-reach, reach]."""
    t = np.linspace(-reach, reach, count)
    return float(np.max(loss(x @ w + b + np.linalg.norm(w) * t, y) - lam * t**2))


def smoothed_datum(loss, w, b, lam, x, y, sigma, eps, dimension, reach=12.0, count=400_001):
    """eps log E exp((f - lam c) / eps) over x' ~ N(x, sigma^2 I): along w by a trapezoid rule, the rest in closed form."""
    t = np.linspace(-reach * sigma, reach * sigma, count)
    exponent = (loss(x @ w + b + np.linalg.norm(w) * t, y) - lam * t**2) / eps - t**2 / (2 * sigma**2)
    top = exponent.max()
    integral = np.sum(np.exp(exponent - top)) * (t[1] - t[0]) / (sigma * math.sqrt(2 * math.pi))
    return eps * (top + math.log(integral)) - eps * (dimension - 1) / 2 * math.log(1 + 2 * lam * sigma**2 / eps)


def sampled_dual(loss, slope, w, b, lam, xs, ys, clouds, eps, radius):
    """F^{eps,m} and its gradient (w, b, lam). clouds[i]: list of (x', y', cost, correction), all draws of datum i."""
    value, gw, gb, glam = lam * radius**2, np.zeros_like(w), 0.0, radius**2
    n = len(xs)
    for i in range(n):
        logits = np.array([(loss(x @ w + b, y) - lam * c) / eps + corr for x, y, c, corr in clouds[i]])
        top = logits.max()
        weights = np.exp(logits - top)
        value += eps * (top + math.log(weights.sum()) - math.log(len(logits))) / n
        weights /= weights.sum()
        for p, (x, y, c, _) in zip(weights, clouds[i], strict=True):
            g = slope(x @ w + b, y)
            gw = gw + p * g * x / n
            gb += p * g / n
            glam -= p * c / n
    return value, gw, gb, glam


def root(f, low, high):
    """A zero of the decreasing f by bisection."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return (low + high) / 2


def shifted_cloud(kind, w, b, lam, x, y, normals, sigma, eps):
    """Draws around the mode of the regularised exponent and their log-weights; normals (m, d)."""
    s, v = np.linalg.norm(w), x @ w + b
    unit = w / s if s > 0 else np.zeros_like(w)
    stiff = lam + eps / (2 * sigma**2)
    if kind == "squared":
        centre = (v - y) * s / (stiff - s**2)
    else:
        a = root(lambda a: s / (1 + math.exp(y * v - s * a)) - 2 * stiff * a, 0.0, s / (2 * stiff))
        centre = -y * a
    narrow = 1 / math.sqrt(1 / sigma**2 + 2 * lam / eps)
    out = []
    for u in normals:
        shift = centre * unit + narrow * u
        reference = -(shift @ shift) / (2 * sigma**2) - len(x) * math.log(sigma)
        own = -(u @ u) / 2 - len(x) * math.log(narrow)
        out.append((x + shift, y, shift @ shift, reference - own))
    return out


def plain_cloud(x, y, normals, sigma):
    return [(x + sigma * u, y, sigma**2 * (u @ u), 0.0) for u in normals]


def project(w, b, lam, ball, low, high):
    size = math.sqrt(w @ w + b * b)
    shrink = min(1.0, ball / size) if size > 0 else 1.0
    return w * shrink, b * shrink, min(max(lam, low), high)
