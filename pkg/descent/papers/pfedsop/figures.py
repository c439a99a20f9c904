"""The page's figures. A docstring is the caption. Everything shown is our own design: the paper's tables are unknown to us."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from descent.report import theme

COMPARED = ("pfedsop", "carry", "local", "fedavg", "fedavg_ft", "fedprox", "ditto", "fedrep", "pfedme", "fedala")
BASELINES = COMPARED[2:]
PARTITIONS = {
    "dirichlet-0.1": "Dirichlet(0.1)",
    "dirichlet-0.5": "Dirichlet(0.5)",
    "classes-2": "2 classes a client",
    "classes-10": "10 classes a client",
}
GUIDE = {"color": "#555555", "linewidth": 0.8, "linestyle": ":"}


def partitions(frames, experiment: str) -> list[str]:
    """Those that were run, in our order."""
    there = set(frames.records(experiment)["partition"])
    return [name for name in PARTITIONS if name in there]


def interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean and 95 % t interval (range under five seeds) of one number a seed; NaN where one is not finite."""
    table = theme.summary(pd.DataFrame({"step": 0, "value": values.to_numpy(float)}))
    if not len(table):
        return np.nan, np.nan, np.nan
    mean, low, high = table.loc[0, ["mean", "low", "high"]]
    return mean, low, high


def a_seed(frames, experiment: str, metric: str, method: str, partition: str) -> pd.Series:
    """The metric's last value of each seed."""
    rows = frames.select(experiment, metric, method, partition=partition).sort_values("step")
    return rows.groupby("seed")["value"].last()


def whisker(ax, x: float, y: float, low: float, high: float, method: str, across: bool = True, **changes) -> None:
    """A point with its interval, across or upright."""
    style = {"color": theme.colour(method), "marker": theme.marker(method), "linestyle": "none"} | changes
    ends = {"xerr": [[x - low], [high - x]]} if across else {"yerr": [[y - low], [high - y]]}
    ax.errorbar([x], [y], **ends, elinewidth=1.1, **style)


def _curves(frames, experiment: str, x: str, label: str):
    names = partitions(frames, experiment)
    figure, axes = theme.grid(1, len(names), sharey=True, height=3.4)
    for ax, partition in zip(axes[0], names, strict=True):
        for method in COMPARED:
            rows = frames.select(experiment, "accuracy", method, partition=partition)
            if x == "step":
                theme.band(ax, rows, method=method)
            elif len(rows):
                spent = frames.select(experiment, x, method, partition=partition).groupby("step")["value"].mean()
                table = theme.summary(rows)
                ax.plot(spent.reindex(table["step"]), table["mean"], **theme.line(method))
        ax.set(title=PARTITIONS[partition], xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("accuracy, all clients' test samples")
    theme.legend(figure, axes)
    return figure


def curves(frames):
    """Accuracy after each evaluated round at the shared step size 0.01 (E1): mean over seeds, band the 95 % t interval. Round 0 is
    before training. Every client is tested, whether it took part or not.

    Alt: One panel for each partition with a learning curve for each method.
    """
    return _curves(frames, "comparison", "step", "communication rounds")


def images(frames):
    """The same on Fashion-MNIST: mean over seeds, band the 95 % t interval, or from the lowest to the highest seed where there are
    fewer than five. No claim rests on it.

    Alt: A learning curve for each method on the image set.
    """
    return _curves(frames, "images", "step", "communication rounds")


def cost(frames):
    """Accuracy against what training has cost so far, counted exactly (E1, E3): sample-gradients, and megabytes of model-sized vectors
    sent up and down by all participants. Mean over seeds. Local training sends nothing and is left out of the lower row; what
    FedAvg-FT spends on fine-tuning before it is tested is not counted.

    Alt: Two rows of panels, accuracy against sample-gradients and against megabytes, one line for each method.
    """
    names = partitions(frames, "comparison")
    figure, axes = theme.grid(2, len(names), sharey=True, height=5.4)
    for row, (metric, unit, label) in zip(
        axes, (("samples", 1e3, "sample-gradients, thousands"), ("sent", 1e6, "sent, MB")), strict=True
    ):
        for ax, partition in zip(row, names, strict=True):
            for method in COMPARED:
                spent = frames.select("comparison", metric, method, partition=partition).groupby("step")["value"].mean()
                table = theme.summary(frames.select("comparison", "accuracy", method, partition=partition))
                if len(table) and spent.max() > 0:
                    ax.plot(spent.reindex(table["step"]) / unit, table["mean"], **theme.line(method))
            ax.set(title=PARTITIONS[partition], xlabel=label)
        row[0].set_ylabel("accuracy")
    theme.legend(figure, axes)
    return figure


def _forest(frames, pairs, metric: str, names: list[str], label: str):
    """pairs: (experiment and method of the other) in rows; differences of pFedSOP of `comparison`."""
    figure, axes = theme.grid(1, len(names), sharey=True, sharex=True, height=0.9 + 0.26 * len(pairs))
    for ax, partition in zip(axes[0], names, strict=True):
        ours = a_seed(frames, "comparison", metric, "pfedsop", partition)
        ax.axvline(0, **GUIDE)
        for y, (experiment, method) in enumerate(pairs):
            gap = (ours - a_seed(frames, experiment, metric, method, partition)).dropna()
            if len(gap):
                mean, low, high = interval(gap)
                whisker(ax, mean, y, low, high, method)
        ax.set(title=PARTITIONS[partition], xlabel=label)
        ax.set_yticks(range(len(pairs)), [theme.label(method) for _, method in pairs])
        ax.set_ylim(len(pairs) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
    return figure


def differences(frames):
    """pFedSOP (anchor) less each baseline at the shared step size (E1), final accuracy, seed by seed: mean and 95 % t interval of the
    paired differences. Right of the dotted line pFedSOP is ahead.

    Alt: A forest plot for each partition, one interval for each baseline.
    """
    pairs = [("comparison", method) for method in BASELINES]
    return _forest(frames, pairs, "accuracy", partitions(frames, "comparison"), "difference of final accuracy")


def areas(frames):
    """The same for the area under the learning curve (mean accuracy over the evaluated rounds).

    Alt: A forest plot for each partition, one interval for each baseline.
    """
    pairs = [("comparison", method) for method in BASELINES]
    return _forest(frames, pairs, "aulc", partitions(frames, "comparison"), "difference of mean accuracy")


def ablation(frames):
    """pFedSOP (anchor) less itself with one thing changed (E2), area under the learning curve, seed by seed: mean and 95 % t interval.
    First order leaves the Fisher matrix out, with a tuned step or with eta1 / rho; beta is the weight of the global update.

    Alt: A forest plot for each partition, one interval for each change.
    """
    changed = [
        ("ablation", m) for m in ("first_order", "first_matched", "own_only", "even", "shared_only", "after_step")
    ]
    pairs = [*changed, ("comparison", "carry")]
    return _forest(frames, pairs, "aulc", partitions(frames, "ablation"), "difference of mean accuracy")


def rounds_to_target(frames):
    """First evaluated round whose accuracy reaches the target (0.85; 0.75 under Dirichlet(0.5)) at the shared step size (E1): one
    point a seed, a bar at the median. Crosses above the dotted line: seeds that never reached it, and how many.

    Alt: A strip of points for each method and partition, with crosses for seeds that never reached the target.
    """
    names = partitions(frames, "comparison")
    figure, axes = theme.grid(1, len(names), sharey=True, height=3.4)
    last = frames.records("comparison")["step"].max()
    for ax, partition in zip(axes[0], names, strict=True):
        ax.axhline(1.05 * last, **GUIDE)
        for x, method in enumerate(COMPARED):
            rows = frames.select("comparison", "rounds_to_target", method, partition=partition)
            values = rows["value"].where(rows["status"] == "ok", np.inf).to_numpy(float)
            if not len(values):
                continue
            offsets = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(1)
            there = np.isfinite(values)
            style = {"color": theme.colour(method), "linestyle": "none", "markersize": 3}
            ax.plot(x + offsets[there], values[there], marker=theme.marker(method), **style)
            ax.plot(x + offsets[~there], np.full((~there).sum(), 1.1 * last), marker="x", **style)
            if (~there).any():
                ax.annotate(str((~there).sum()), (x, 1.14 * last), ha="center", fontsize=7)
            median = np.sort(values)[(len(values) - 1) // 2]
            if np.isfinite(median):
                ax.hlines(median, x - 0.35, x + 0.35, color=theme.colour(method), linewidth=1.6)
        ax.set_xticks(range(len(COMPARED)), [theme.label(m) for m in COMPARED], rotation=60, ha="right")
        ax.set(title=PARTITIONS[partition], ylim=(0, 1.24 * last))
        ax.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("communication rounds")
    return figure


def steps(frames):
    """Each method at the shared step size 0.01 (E1) and at the one tuned for it (E4): final accuracy, mean and 95 % t interval over
    seeds. Both are verdict seeds; the tuning used others.

    Alt: For each partition a slope chart, a line from the shared to the tuned step for each method.
    """
    names = [p for p in partitions(frames, "tuned") if p in partitions(frames, "comparison")]
    figure, axes = theme.grid(1, len(names), sharey=True, height=3.8)
    for ax, partition in zip(axes[0], names, strict=True):
        shown = [m for m in COMPARED if len(a_seed(frames, "tuned", "accuracy", m, partition))]
        for i, method in enumerate(shown):
            found = [interval(a_seed(frames, e, "accuracy", method, partition)) for e in ("comparison", "tuned")]
            shift = 0.05 * (i / max(len(shown) - 1, 1) - 0.5)
            at = [shift, 1 + shift]
            ax.plot(at, [mean for mean, _, _ in found], **theme.line(method))
            for x, (mean, low, high) in zip(at, found, strict=True):
                whisker(ax, x, mean, low, high, method, across=False)
        ax.set_xticks([0, 1], ["shared step (E1)", "tuned step (E4)"])
        ax.set(title=PARTITIONS[partition], xlim=(-0.2, 1.2))
        ax.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("final accuracy")
    theme.legend(figure, axes)
    return figure


def weights(frames):
    """Left and middle: angle phi between a participant's update and the global one, and the weight beta that follows from it, over the
    rounds of E1 (mean over seeds and participants, band the 95 % t interval over seeds). Right: beta against phi for five lambda, and
    how the observed angles of the Dirichlet(0.1) partition are spread (grey, relative frequency).

    Alt: Two panels of curves over rounds, one line for each partition, and a panel of falling curves over a histogram.
    """
    names = partitions(frames, "comparison")
    figure, axes = theme.grid(1, 3, height=3.0)
    colours = theme.shades("pfedsop", len(names))
    for ax, (metric, label) in zip(axes[0], (("angle", "φ, radians"), ("mix", "β")), strict=False):
        for partition, shade in zip(names, colours, strict=True):
            rows = frames.select("comparison", metric, "pfedsop", partition=partition)
            rows = rows[rows["status"] == "ok"]
            theme.band(ax, rows, method="pfedsop", color=shade, label=PARTITIONS[partition])
        ax.set(xlabel="communication rounds", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].legend()
    ax, phi = axes[0, 2], np.linspace(0, np.pi, 200)
    seen = _values(frames, "angle")
    if len(seen):
        heights, edges = np.histogram(seen, bins=40, range=(0, np.pi))
        ax.bar(edges[:-1], heights / heights.max(), np.diff(edges), align="edge", color="#D9D9D9", label="observed φ")
    for sharpness, shade in zip((0.2, 0.5, 1, 2, 5), theme.shades("pfedsop", 5), strict=True):
        weight = 1 - np.exp(-np.exp(-sharpness * (phi - 1)))
        ax.plot(phi, weight, color=shade, linewidth=1.3, label=f"λ = {sharpness:g}")
    ax.set(xlabel="φ, radians", ylabel="β", xlim=(0, np.pi), ylim=(0, 1.02))
    ax.legend(fontsize=7)
    return figure


def _values(frames, name: str) -> np.ndarray:
    """All values a participant of one kind that the job kept."""
    kept = [v for key, v in frames.arrays("comparison").items() if key.startswith(f"{name} ")]
    flat = np.concatenate([v.ravel() for v in kept]) if kept else np.empty(0)
    return flat[np.isfinite(flat)]


def step_length(frames):
    """Length of the second-order step, eta1 q / (rho + q^2), against the length q of the personalised update, for eta1 = 10 and rho = 100:
    longest at q = sqrt(rho). Dotted: a gradient step of size eta1 / rho. Ticks: the observed q of E1 under Dirichlet(0.1); dashed: the
    median way of a local run there.

    Alt: A curve with one maximum on logarithmic axes, a straight line, and a row of ticks along the lower edge.
    """
    figure, axes = theme.grid(1, 1, width=4.8, height=3.2)
    ax, q = axes[0, 0], np.geomspace(0.3, 300, 300)
    ax.plot(q, 10 * q / (100 + q * q), **theme.line("pfedsop", label="second-order step"))
    ax.plot(q, 0.1 * q, label="gradient step of size η₁ / ρ", **GUIDE)
    drift = _values(frames, "drift")
    if len(drift):
        ax.axhline(np.median(drift), color="#222222", linestyle="--", linewidth=0.9, label="median way of a local run")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="q, length of the personalised update",
        ylabel="length of the step",
        ylim=(0.01, 10),
    )
    seen = _values(frames, "update_norm")
    if len(seen):
        shown = np.quantile(seen, np.linspace(0, 1, 200))
        ax.plot(shown, np.full(len(shown), 0.012), "|", color=theme.colour("pfedsop"), markersize=7, label="observed q")
    ax.legend()
    return figure


def damping(frames):
    """Area under the learning curve for pairs of eta1 and rho (E5), mean over the tuning seeds; blank pairs were not run. Outlined: the
    pair that E1 uses.

    Alt: A heat map for each partition, eta1 against rho, the value printed in each cell.
    """
    names = partitions(frames, "damping")
    figure, axes = theme.grid(1, len(names), height=2.6, sharey=True)
    rows = frames.records("damping")
    rows = rows[rows["metric"] == "aulc"]
    sizes, rhos = sorted(rows["step_size"].unique()), sorted(rows["rho"].unique())
    limits = rows.groupby(["partition", "step_size", "rho"])["value"].mean()
    picture = None
    for ax, partition in zip(axes[0], names, strict=True):
        table = rows[rows["partition"] == partition].pivot_table(index="step_size", columns="rho", values="value")
        table = table.reindex(index=sizes, columns=rhos)
        picture = ax.imshow(table, origin="lower", aspect="auto", cmap="viridis", vmin=limits.min(), vmax=limits.max())
        for i, size in enumerate(sizes):
            for j, rho in enumerate(rhos):
                if np.isfinite(table.iloc[i, j]):
                    dark = table.iloc[i, j] < limits.min() + 0.6 * (limits.max() - limits.min())
                    ax.text(
                        j,
                        i,
                        f"{table.iloc[i, j]:.2f}",
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white" if dark else "black",
                    )
                if (size, rho) == (10, 100):
                    ax.plot(
                        [j - 0.5, j + 0.5, j + 0.5, j - 0.5, j - 0.5],
                        [i - 0.5, i - 0.5, i + 0.5, i + 0.5, i - 0.5],
                        color="#D6403B",
                        linewidth=1.4,
                    )
        ax.set_xticks(range(len(rhos)), [f"{r:g}" for r in rhos])
        ax.set_yticks(range(len(sizes)), [f"{s:g}" for s in sizes])
        ax.set(title=PARTITIONS[partition], xlabel="ρ")
        ax.grid(visible=False)
    axes[0, 0].set_ylabel("η₁")
    assert picture is not None, "a partition was run at least"
    figure.colorbar(picture, ax=axes[0].tolist(), label="mean accuracy")
    return figure


def sharpness(frames):
    """Area under the learning curve against lambda (E5), each tuning seed and their mean.

    Alt: Points and a line for each partition against lambda on a logarithmic axis.
    """
    names = partitions(frames, "sharpness")
    figure, axes = theme.grid(1, 1, width=4.8, height=3.0)
    ax = axes[0, 0]
    for partition, shade in zip(names, theme.shades("pfedsop", len(names)), strict=True):
        rows = frames.select("sharpness", "aulc", "pfedsop", partition=partition)
        mean = rows.groupby("sharpness")["value"].mean()
        ax.plot(rows["sharpness"], rows["value"], "o", color=shade, markersize=3, alpha=0.7)
        ax.plot(mean.index, mean, color=shade, label=PARTITIONS[partition])
    ax.set(xscale="log", xlabel="λ", ylabel="mean accuracy")
    ax.legend()
    return figure


def labels(frames):
    """How many samples of each class each client of the first seed holds, train and test together.

    Alt: A heat map for each partition, class against client.
    """
    kept = {k.split()[-1]: v for k, v in frames.arrays("comparison").items() if k.startswith("labels ")}
    names = [name for name in PARTITIONS if name in kept]
    if not names:
        frames.records("comparison")
    figure, axes = theme.grid(1, len(names), sharey=True, height=2.8)
    top, picture = max(v.max() for v in kept.values()), None
    for ax, name in zip(axes[0], names, strict=True):
        picture = ax.imshow(kept[name].T, aspect="auto", origin="lower", cmap="viridis", vmin=0, vmax=top)
        ax.set(title=PARTITIONS[name], xlabel="client")
        ax.grid(visible=False)
    axes[0, 0].set_ylabel("class")
    assert picture is not None, "a partition was run at least"
    figure.colorbar(picture, ax=axes[0].tolist(), label="samples")
    return figure


FIGURES = {
    "curves": curves,
    "steps": steps,
    "differences": differences,
    "areas": areas,
    "rounds_to_target": rounds_to_target,
    "ablation": ablation,
    "cost": cost,
    "weights": weights,
    "step_length": step_length,
    "damping": damping,
    "sharpness": sharpness,
    "labels": labels,
    "images": images,
}
