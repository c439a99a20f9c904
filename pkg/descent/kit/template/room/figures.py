"""The figures of the report. A function's docstring is its caption."""

from __future__ import annotations

from matplotlib.figure import Figure

from descent.report import theme
from descent.report.theme import Frames


def race(frames: Frames) -> Figure:
    """Distance to the optimum by step: mean and 95 % interval over seeds, on logarithms. A panel a condition number kappa.

    Alt: Two curves a panel, heavy ball and gradient descent, against the number of steps.
    """
    rows = frames.records("race")
    conditions = sorted(rows["condition"].unique())
    figure, axes = theme.grid(1, len(conditions), sharey=True)
    for ax, condition in zip(axes[0], conditions, strict=True):
        for method in ("heavy_ball", "descend"):
            chosen = frames.select("race", "distance", method, condition=condition)
            theme.band(ax, chosen, method=method, log=True)
        ax.set(title=f"kappa = {condition:g}", xlabel="step", yscale="log")
    axes[0, 0].set_ylabel("distance to the optimum")
    theme.legend(figure, axes)
    return figure


FIGURES = {"F1": race}
