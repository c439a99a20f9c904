"""What figures compute: the curve against accuracy is the matching of the study; the map keeps distances; nothing is asserted of absent runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("seaborn")

from descent.papers.eprop import figures
from descent.papers.eprop.matching import matched
from descent.papers.eprop.room import ROOM
from descent.report import theme


class Frames:
    """Records of two seeds on one experiment."""

    def __init__(self, errors, distances):
        steps, seeds = errors.shape
        rows = [
            (metric, seed, 10 * t, values[t, seed], "ok")
            for metric, values in (("error", errors), ("distance", distances))
            for t in range(steps)
            for seed in range(seeds)
        ]
        self.frame = pd.DataFrame(rows, columns=["metric", "seed", "step", "value", "status"])

    def select(self, experiment, metric, method=None, **axes):
        return self.frame[self.frame["metric"] == metric]


def test_curve_against_accuracy_is_the_matching():
    rng = np.random.default_rng(0)
    errors = np.exp(-np.linspace(0, 3, 12))[:, None] * rng.uniform(0.9, 1.5, (12, 2))
    distances = rng.uniform(0.3, 0.6, (12, 2))
    table = figures._along_accuracy(Frames(errors, distances), "rules", "eprop")
    for target in figures.GRID[::5]:
        want = matched(np.arange(0, 120, 10), errors, distances, target)
        got = table[table["error"] == target].sort_values("seed")
        assert got["value"].to_numpy() == pytest.approx(want.values, nan_ok=True)
        assert got["status"].tolist() == want.status


def test_map_keeps_distances_of_points_in_a_plane():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((6, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    names = ["bptt", "bptt_gain=0.5", "eprop", "eprop_gain=1.5", "bptt", "eprop"]
    with theme.apply(ROOM):
        _figure, axes = theme.grid(1, 1)
        figures._map(axes[0, 0], distances, names)
        drawn = np.concatenate([np.stack(line.get_data(), 1) for line in axes[0, 0].lines])
    got = np.sort(np.linalg.norm(drawn[:, None] - drawn, axis=-1).ravel())
    assert got == pytest.approx(np.sort(distances.ravel()), abs=1e-8)


def test_map_leaves_out_networks_without_distances():
    distances = np.ones((4, 4)) - np.eye(4)
    distances[3, :3] = distances[:3, 3] = np.nan
    with theme.apply(ROOM):
        _figure, axes = theme.grid(1, 1)
        figures._map(axes[0, 0], distances, ["bptt"] * 3 + ["eprop"])
        assert sum(len(line.get_xdata()) for line in axes[0, 0].lines) == 3


def test_captions_and_alternative_texts_say_no_result():
    for name, draw in figures.FIGURES.items():
        caption, _, alt = (draw.__doc__ or "").partition("Alt:")
        assert caption.strip() and alt.strip(), name
        for word in ("closer than", "better than", "outperforms", "worse than"):
            assert word not in caption, (name, word)
