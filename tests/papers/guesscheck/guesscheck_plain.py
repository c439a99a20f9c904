"""The paper's procedure written once more, plainly, in NumPy and without the room's code: what the tests compare with."""

import numpy as np

SIGMA = {"linear": lambda x: x, "tanh": np.tanh, "leaky": lambda x: np.where(x > 0, x, 0.2 * x)}


def guesses(rng, count, rows, columns, depth, width, activation="linear", prior="gauss", normalised=False):
    """`count` products (count, rows, columns) of weights drawn from the prior."""
    sizes = [rows] + [width] * (depth - 1) + [columns]
    h = np.broadcast_to(np.eye(rows), (count, rows, rows))
    for layer in range(depth):
        shape = (count, sizes[layer], sizes[layer + 1])
        w = rng.standard_normal(shape) if prior == "gauss" else rng.uniform(-1, 1, shape)
        h = h @ (w / np.sqrt(sizes[layer + 1]))
        if layer < depth - 1:
            h = SIGMA[activation](h)
    if normalised:
        h = h / (np.linalg.norm(h, axis=(1, 2), keepdims=True) + 1e-6)
    return h


def null_space(rows):
    """Orthonormal rows that complete the given ones (n, p), by SVD."""
    return np.linalg.svd(rows)[2][len(rows) :]


def losses(products, measurements, target):
    """L_train and L_gen of products (count, m, m') for measurements (n, m, m') of the target."""
    seen = measurements.reshape(len(measurements), -1)
    unseen = null_space(seen)
    apart = products.reshape(len(products), -1) - target.ravel()
    return ((apart @ seen.T) ** 2).mean(1), ((apart @ unseen.T) ** 2).mean(1)


def small_problem(seed, count, rows, columns, rank=1):
    """Normal measurements of norm 1 and a target of norm 1."""
    rng = np.random.default_rng([seed, 3])
    measurements = rng.standard_normal((count, rows, columns))
    measurements /= np.linalg.norm(measurements, axis=(1, 2), keepdims=True)
    target = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return measurements, target / np.linalg.norm(target)
