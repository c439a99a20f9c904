"""Stand-ins that we generate, so that code runs where an import is missing. They are labelled as such everywhere.

numpy's legacy RandomState is used because its streams are frozen for good, and values are rounded so that the last
bits of a sum, which may differ from one processor to the next, cannot change a file's hash.
"""

from __future__ import annotations

import numpy as np

SEED = 20250


def waveform(train: int = 400, test: int = 600) -> dict[str, np.ndarray]:
    """Breiman's waveform problem in the form of the SIVI file: a column of ones, then 21 standardised features.

    h1(t) = max(6 - |t - 7|, 0), h2(t) = h1(t - 8), h3(t) = h1(t - 4) for t = 1..21; a class is drawn evenly among the
    pairs (1,2), (1,3), (2,3), and x = u h_a + (1 - u) h_b + N(0, I) with u uniform in (0, 1). Two of the three classes
    make label 1; which two the file groups is not documented, here the last two. Breiman, Friedman, Olshen, Stone (1984).
    """
    random = np.random.RandomState(SEED)
    n = train + test
    time = np.arange(1, 22)
    waves = np.stack([np.maximum(6.0 - np.abs(time - shift), 0.0) for shift in (7, 15, 11)])  # h1, h2, h3
    pairs = np.array([(0, 1), (0, 2), (1, 2)])
    group = random.randint(3, size=n)
    share = random.uniform(size=(n, 1))
    first, second = waves[pairs[group, 0]], waves[pairs[group, 1]]
    x = share * first + (1 - share) * second + random.standard_normal((n, 21))
    x = (x - x.mean(axis=0)) / x.std(axis=0)  # over all rows, as in the file
    features = np.concatenate([np.ones((n, 1)), x], axis=1).round(6)
    labels = (group > 0).astype(np.uint8)
    return {
        "train_features": features[:train], "train_labels": labels[:train],
        "test_features": features[train:], "test_labels": labels[train:],
    }  # fmt: skip


def reach(units: int = 40) -> dict[str, np.ndarray]:
    """A made-up centre-out reach with the arrays of hatsopoulos2007: 8 directions, 121 bins of 10 ms around movement.

    Hand speed is a bell of 300 ms about its peak; units fire at a baseline plus cosine tuning to the direction times a
    bump in time of their own (a peak somewhere in -400..300 ms). Angles follow the hand's position. Ours: it has the
    file's form, not its physiology.
    """
    random = np.random.RandomState(SEED + 1)
    time = np.arange(-800, 401, 10) / 1000.0  # s, (121,)
    direction = np.deg2rad(45.0 * np.arange(8))  # (8,)
    speed = np.exp(-0.5 * ((time - 0.15) / 0.075) ** 2)
    travelled = np.cumsum(speed) / speed.sum()
    x = np.cos(direction)[:, None] * travelled
    y = np.sin(direction)[:, None] * travelled
    preferred = random.uniform(0, 2 * np.pi, units)
    peak = random.uniform(-0.4, 0.3, units)
    width = random.uniform(0.08, 0.25, units)
    base = random.uniform(0.5, 8.0, units)
    depth = random.uniform(1.0, 12.0, units)
    tuning = 1 + np.cos(direction[None] - preferred[:, None])  # (units, 8)
    bump = np.exp(-0.5 * ((time[None] - peak[:, None]) / width[:, None]) ** 2)  # (units, 121)
    rate = base[:, None, None] + depth[:, None, None] * bump[:, :, None] * tuning[:, None, :]
    arrays = {
        "firing_rate": rate,
        "xhandposition": x, "yhandposition": y,
        "xhandspeed": np.cos(direction)[:, None] * speed, "yhandspeed": np.sin(direction)[:, None] * speed,
        "shoulderangle": 0.8 * x - 0.3 * y, "elbowangle": 0.4 * x + 0.7 * y,
        "time_startmovement_to_endmovement_mean": np.full(8, 300.0),
        "time_startmovement_to_endmovement_median": np.full(8, 300.0),
    }  # fmt: skip
    return {name: values.round(4) for name, values in arrays.items()}
