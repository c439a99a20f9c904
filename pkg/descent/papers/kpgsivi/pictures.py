"""Figures that show what was fitted: samples, marginals, correlations, paths. `theme` is descent.report.theme, handed over by figures.py."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from descent.papers.kpgsivi.targets import OBSERVED, Banana, multimodal, x_shaped

SHOWN = ("kpgis", "kpg", "ksivi", "asvgd", "sivi", "bsivi")
BOXES = {"multimodal": (-5, 5, -4, 4), "banana": (-4, 4, -14, 2), "x_shaped": (-5, 5, -5, 5)}
MADE = {"multimodal": multimodal, "banana": Banana, "x_shaped": x_shaped}
TRUTH = "#222222"


def samples(frames, theme) -> Figure:
    """What each method has learnt in the plane: 1000 points of the first seed's final q over contours of the target's density (at 2, 10,
    40 and 90 % of its largest value). Where more than a fifth of the points lie outside of the panel, their share is given.

    Alt: Three rows of panels, one for each target, a column for each method: dots over contour lines.
    """
    arrays = frames.arrays("toys")
    present = [m for m in SHOWN if any(f"sample {m}, target={t}" in arrays for t in MADE)]
    if not present:
        frames.records("toys")  # says why there is nothing
    figure, axes = theme.grid(len(MADE), len(present), width=11.0, height=6.0, sharex="row", sharey="row")
    for row, (name, (left, right, low, high)) in enumerate(BOXES.items()):
        x, y = np.meshgrid(np.linspace(left, right, 120), np.linspace(low, high, 120))
        points = torch.tensor(np.stack([x, y], -1), dtype=torch.float32).view(1, -1, 2)
        density = MADE[name]().log_prob(points).exp().view(x.shape).numpy()
        for column, method in enumerate(present):
            ax = axes[row, column]
            key = f"sample {method}, target={name}"
            if key in arrays:
                x1, x2 = arrays[key].T
                outside = 1 - float(((left < x1) & (x1 < right) & (low < x2) & (x2 < high)).mean())
                if outside > 0.2:
                    ax.text(
                        0.5, 0.04, f"{100 * outside:.0f} % outside", transform=ax.transAxes, ha="center", fontsize=8
                    )
                ax.plot(x1, x2, ".", markersize=1.2, alpha=0.5, color=theme.colour(method), rasterized=True)
            ax.contour(
                x, y, density, levels=density.max() * np.array([0.02, 0.1, 0.4, 0.9]), colors="#444444", linewidths=0.5
            )
            ax.set(xlim=(left, right), ylim=(low, high))
            ax.grid(visible=False)
            ax.locator_params(axis="both", nbins=4)
            if row == 0:
                ax.set_title(theme.label(method))
            if column == 0:
                ax.set_ylabel("second coordinate")
            if row == len(MADE) - 1:
                ax.set_xlabel("first coordinate")
    return figure


def weights(frames, theme) -> Figure:
    """Weights 1 to 5 of the logistic regression: marginals on the diagonal, pairs below it, KPG-IS (colour) over HMC (dark). Contours hold
    50 and 90 % of the points. One seed.

    Alt: A triangle of five by five panels with two sets of contours that can be compared, and two curves on the diagonal.
    """
    arrays = frames.arrays("logistic")
    key = next((k for k in arrays if k.startswith("sample kpgis,")), None)
    if key is None:
        frames.records("logistic")
        return theme.plain("Weights of the logistic regression", "KPG-IS was not run on it")
    states = frames.arrays("truth")["states logistic"]
    mine, truth = arrays[key], states[:, : states.shape[1] // 2].reshape(-1, states.shape[-1])[:, 1:6]
    count = min(mine.shape[1], truth.shape[1])
    figure, axes = theme.grid(count, count, width=7.2, height=7.2, sharex="col")
    for i in range(count):
        for j in range(count):
            ax = axes[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            for data, colour in ((truth, TRUTH), (mine, theme.colour("kpgis"))):
                if i == j:
                    edges = np.histogram_bin_edges(truth[:, i], 30)
                    height, _ = np.histogram(data[:, i], edges, density=True)
                    ax.stairs(height, edges, color=colour, linewidth=1.2)
                    ax.set_yticks([])
                else:
                    contour(ax, data[:, j], data[:, i], colour)
            if i == count - 1:
                ax.set_xlabel(f"w{j + 1}")
            if j == 0 and i:
                ax.set_ylabel(f"w{i + 1}")
    return figure


def contour(ax, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """Contours that hold half and nine tenths of the points, from a smoothed histogram."""
    height, xs, ys = np.histogram2d(x, y, bins=24)
    smooth = np.array([1, 2, 3, 2, 1]) / 9
    for axis in (0, 1):
        height = np.apply_along_axis(lambda line: np.convolve(line, smooth, "same"), axis, height)
    ranked = np.sort(height.ravel())[::-1]
    mass = ranked.cumsum() / ranked.sum()
    levels = sorted({float(ranked[np.searchsorted(mass, share)]) for share in (0.9, 0.5)})
    ax.contour((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2, height.T, levels=levels, colors=colour, linewidths=0.9)


def correlations(frames, theme) -> Figure:
    """Pairwise correlations of the weights of the logistic regression under q (first seed) against those under HMC, 231 pairs. Thin line:
    equality; thick line: the least-squares slope through the origin, in the title.

    Alt: A panel for each method with a cloud of points along a diagonal.
    """
    arrays = frames.arrays("logistic")
    present = [(m, k) for m in SHOWN for k in arrays if k.startswith(f"correlations {m},")]
    if not present:
        frames.records("logistic")
        return theme.plain("Correlations", "no method kept them")
    states = frames.arrays("truth")["states logistic"]
    pool = states[:, : states.shape[1] // 2].reshape(-1, states.shape[-1])
    truth = np.corrcoef(pool.T)[np.triu_indices(pool.shape[-1], 1)]
    figure, axes = theme.grid(1, len(present), width=11.0, height=2.8, sharex=True, sharey=True)
    for ax, (method, key) in zip(axes[0], present, strict=True):
        mine = arrays[key]
        slope = float((truth * mine).sum() / (truth**2).sum())
        ends = np.array([-1.0, 1.0])
        ax.plot(truth, mine, ".", markersize=2.5, color=theme.colour(method))
        ax.plot(ends, ends, color="#808080", linewidth=0.8)
        ax.plot(ends, slope * ends, color=theme.colour(method), linewidth=1.6)
        ax.set(title=f"{theme.label(method)}\nslope {slope:.2f}", xlabel="under HMC", xlim=(-1, 1), ylim=(-1, 1))
    axes[0, 0].set_ylabel("under q")
    return figure


def paths(frames, theme) -> Figure:
    """The path of the conditioned diffusion: mean and pointwise 95 % band under q (colour, first seed) and under HMC (grey), with the
    observations.

    Alt: A panel for each method with a coloured band over a grey one, and dots.
    """
    arrays = frames.arrays("diffusion")
    present = [(m, k) for m in SHOWN for k in arrays if k.startswith(f"path {m},")]
    if not present:
        frames.records("diffusion")
        return theme.plain("Paths", "no method kept them")
    states = frames.arrays("truth")["states diffusion"]
    pool = states[:, : states.shape[1] // 2].reshape(-1, states.shape[-1])
    low, high = np.quantile(pool, [0.025, 0.975], axis=0)
    steps = np.arange(1, pool.shape[-1] + 1)
    figure, axes = theme.grid(1, len(present), width=11.0, height=2.8, sharex=True, sharey=True)
    for ax, (method, key) in zip(axes[0], present, strict=True):
        mean, below, above = arrays[key]
        colour = theme.colour(method)
        ax.fill_between(steps, low, high, color="#BBBBBB", linewidth=0)
        ax.plot(steps, pool.mean(0), color="#555555", linewidth=1)
        ax.fill_between(steps, below, above, color=colour, alpha=0.25, linewidth=0)
        ax.plot(steps, mean, color=colour, linewidth=1.4)
        if len(steps) == 100:
            ax.plot(np.arange(5, 101, 5), OBSERVED, "k.", markersize=3)
        ax.set(title=theme.label(method), xlabel="step of the path")
    axes[0, 0].set_ylabel("u")
    return figure
