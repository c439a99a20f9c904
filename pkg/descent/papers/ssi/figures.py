"""The room's figures. A docstring is a caption; measured numbers come from the records."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch

from descent.report import theme
from descent.report.theme import Frames

ASYMPTOTIC = {1: "1", 2: "1 (and log²)", 3: "2"}
GUIDE = {"color": "#555555", "linewidth": 1.0}  # lines of theory, which are no method


def trajectories(frames: Frames) -> Figure:
    """SGD follows its flow (E5). Semantic overlap m (top) and positional overlap e (bottom) against tau = lr t/d, mean
    and range over seeds, beside the population flow and the flow with V-term; omega = 0.5, a = 1. A column a dimension and
    learning rate. At a fixed rate the flow with V-term is the limit as d grows; the population flow is that as lr falls too.

    Alt: Overlaps of SGD against time, a column a dimension and rate, each with its band over seeds and two flows.
    """
    runs = frames.records("trajectory")
    cells = list(sorted({(rate, dimension) for rate, dimension in zip(runs["rate"], runs["dimension"], strict=True)}))
    figure, axes = theme.grid(2, len(cells), sharex=True, sharey="row", height=4.2)
    for column, (rate, dimension) in enumerate(cells):
        for row, metric in enumerate(("m", "e")):
            ax = axes[row, column]
            own = frames.select("trajectory", metric, "sgd", dimension=dimension, rate=rate)
            own = own.assign(tau=own["step"] * rate / dimension)
            theme.band(ax, own, x="tau", method="sgd", spread="range")
            times = np.unique(own["tau"].to_numpy())
            for method, axis in (("flow", {}), ("flow_noise", {"rate": rate})):
                curve = frames.select("equations", metric, method, **axis).drop_duplicates("step").sort_values("step")
                ax.plot(times[: len(curve)], curve["value"], **theme.line(method))
            if row == 0:
                ax.set_title(f"d = {dimension}, lr = {rate:g}")
        axes[1, column].set_xlabel("τ = lr t / d")
    axes[0, 0].set_ylabel("semantic overlap m")
    axes[1, 0].set_ylabel("positional overlap e")
    theme.legend(figure, axes)
    return figure


def slope_of(times: pd.DataFrame) -> float:
    """Log-log slope of the median time against d; censored times rank last. NaN where a median is not finite."""
    value = times["value"].where(times["status"] == "ok", np.inf)
    median = value.groupby(times["dimension"]).median()
    if len(median) < 2 or not np.isfinite(median).all():
        return np.nan
    return float(np.polyfit(np.log(median.index.to_numpy(float)), np.log(median.to_numpy()), 1)[0])


def exponents(frames: Frames) -> Figure:
    """The sequence information exponent (E3). First step with |m| >= 1/2 against d, every seed (dots) and the median,
    beside the flow's escape time; k is the exponent. Log-log slopes of the medians, of the flow at the same d, and the asymptotic one
    stand in the panels.

    Alt: Time against dimension on logarithmic axes, a panel an exponent: dots of the seeds, medians, and the flow's line.
    """
    times = frames.records("exponent")
    orders = sorted(times["order"].unique())
    figure, axes = theme.grid(1, len(orders), height=3.0)
    for ax, order in zip(axes[0], orders, strict=True):
        runs, flow = (frames.select("exponent", "time", method, order=order) for method in ("sgd", "escape"))
        median = runs.groupby("dimension")["value"].median()
        style = {"linestyle": "none", "marker": theme.marker("sgd"), "color": theme.colour("sgd")}
        ax.plot(runs["dimension"], runs["value"], **style, markersize=2, alpha=0.35)
        ax.plot(median.index, median, **style, label=f"{theme.label('sgd')}, median")
        line = flow.drop_duplicates("dimension").sort_values("dimension")
        ax.plot(line["dimension"], line["value"], **theme.line("escape"))
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_title(f"k = {order}")
        ax.set_xlabel("dimension d")
        ax.text(0.04, 0.96, f"slope {slope_of(runs):.2f}\nflow {slope_of(flow):.2f}\nasymptotic {ASYMPTOTIC[order]}",
                transform=ax.transAxes, va="top", fontsize=8)  # fmt: skip
    axes[0, 0].set_ylabel("steps to |m| = 1/2")
    theme.legend(figure, axes)
    return figure


def _gain(frames: Frames, experiment: str, against: str = "tied") -> pd.DataFrame:
    """Ratio of mean first passages, plain over `against`, by length: mean, low, high (95 %, delta method, seeds paired).

    A length at which a chain did not arrive has no gain (NaN).
    """
    rows = []
    for length in sorted(frames.records(experiment)["length"].unique()):
        plain, other = (
            frames.select(experiment, "time", method, length=length).set_index("seed") for method in ("plain", against)
        )
        times = pd.concat([x["value"].where(x["status"] == "ok", np.nan) for x in (plain, other)], axis=1).to_numpy()
        mean = times.mean(0)
        spread = (times[:, 0] / mean[0] - times[:, 1] / mean[1]).std(ddof=1) / np.sqrt(len(times))
        gain = mean[0] / mean[1]
        rows.append((length, gain, gain * np.exp(-1.96 * spread), gain * np.exp(1.96 * spread)))
    return pd.DataFrame(rows, columns=["length", "gain", "low", "high"])


def _draw_gain(ax: Axes, table: pd.DataFrame, method: str) -> None:
    error = np.abs(table[["low", "high"]].to_numpy().T - table["gain"].to_numpy())
    ax.errorbar(table["length"], table["gain"], error, linestyle="none", capsize=2, color=theme.colour(method),
                marker=theme.marker(method), label=f"plain over {theme.label(method)}")  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xlabel("sequence length L")


def gains(frames: Frames) -> Figure:
    """What tying gains (E1, E1b, E2). Mean first-passage time of the plain network over that of the tied one against the
    sequence length L, 95 % intervals; the dark line is our prediction (L for a linear and a quadratic target of all tokens,
    sqrt(3L + 1) - 1 for one informative token), the light one the bound L.

    Alt: Gain against length in three panels, points with intervals beside two lines, the prediction and the bound.
    """
    panels = (
        ("gain", "linear target", lambda x: x),
        ("single", "one informative token", lambda x: np.sqrt(3 * x + 1) - 1),
        ("quadratic", "quadratic target", lambda x: x),
    )
    figure, axes = theme.grid(1, 3, height=3.0)
    for ax, (experiment, title, theory) in zip(axes[0], panels, strict=True):
        ax.set_title(title)
        if not frames.has(experiment):
            theme.absent(ax, frames.why(experiment))
            continue
        table = _gain(frames, experiment)
        x = np.geomspace(1, max(2, table["length"].max()), 60)
        ax.plot(x, x, **GUIDE | {"alpha": 0.4, "linestyle": "--"}, label="bound L")
        ax.plot(x, theory(x), **GUIDE, label="theory")
        _draw_gain(ax, table, "tied")
    axes[0, 0].set_ylabel("gain: steps of plain / tied")
    theme.legend(figure, axes)
    return figure


def curves(frames: Frames) -> Figure:
    """Overlap over time, tied and plain, linear target, d = 1000; mean and 95 % band over seeds. On the right the
    plain network's learning rate is scaled by L.

    Alt: Overlap against steps, tied and plain, a row a length; on the right the plain network has L times the rate.
    """
    runs = frames.records("curves")
    lengths = sorted(runs["length"].unique())
    figure, axes = theme.grid(len(lengths), 2, sharex=True, sharey=True)
    for row, length in enumerate(lengths):
        for ax, scaling in zip(axes[row], ("one", "length"), strict=True):
            for method, own in (("tied", "one"), ("plain", scaling)):
                part = frames.select("curves", "overlap", method, length=length, rate_scaling=own)
                theme.band(ax, part.loc[part["step"] > 0, :], method=method)
            ax.set_title(f"L = {length}, plain with lr" + ("" if scaling == "one" else " x L"))
            ax.set_xscale("log")
        axes[row, 0].set_ylabel("overlap")
    for ax in axes[-1]:
        ax.set_xlabel("step")
    theme.legend(figure, axes)
    return figure


def _draw_share(ax: Axes, runs: pd.DataFrame) -> None:
    """Share of positional runs by omega with its exact binomial interval."""
    from scipy.stats import beta

    ok = runs[runs["status"] == "ok"].groupby("omega")["value"].agg(["sum", "count"])
    positional, count = np.asarray(ok["sum"]), np.asarray(ok["count"])
    share = positional / count
    low = np.nan_to_num(beta.ppf(0.025, positional, count - positional + 1), nan=0.0)
    high = np.nan_to_num(beta.ppf(0.975, positional + 1, count - positional), nan=1.0)
    ax.errorbar(ok.index, share, np.stack([share - low, high - share]).clip(0), capsize=2, label=theme.label("sgd"),
                color=theme.colour("sgd"), marker=theme.marker("sgd"), linewidth=1)  # fmt: skip


def transition(frames: Frames) -> Figure:
    """Semantic or positional (E4). Share of runs that end with |e| > |m| against the teacher's omega, exact 95 % binomial
    intervals, a = 1; left for half the squared distance (the theory's loss), right for the distance (the official
    simulation's). The dotted line is omega_dyn, where the steepest way out of the origin turns positional; the dashed
    one omega_glob, where the global minimum does. Theory lines are for the squared loss.

    Alt: Share of positional runs against omega, a panel a loss, with intervals and two vertical lines of the theory.
    """
    losses = [loss for loss in ("sq", "fro") if loss in set(frames.records("transition")["loss"])]
    figure, axes = theme.grid(1, len(losses), sharey=True, height=3.0)
    phase = frames.records("phase")
    known = phase[phase["width"] == 1].groupby("metric")["value"].median()
    for ax, loss in zip(axes[0], losses, strict=True):
        runs = frames.select("transition", "positional", "sgd", loss=loss)
        _draw_share(ax, runs)
        ax.axvline(known["omega_dynamics"], **GUIDE, linestyle=":", label="ω where the dynamics turn")
        ax.axvline(known["omega_global"], **GUIDE, linestyle="--", label="ω where the global minimum turns")
        ax.set_title({"sq": "squared loss", "fro": "Frobenius distance"}[loss])
        ax.set_xlabel("ω, weight of the positional teacher")
    axes[0, 0].set_ylabel("share of runs that end positional")
    theme.legend(figure, axes)
    return figure


def landscapes(frames: Frames) -> Figure:
    """The population loss R(e, m) at a = 1 for four omegas, with stream lines of the flow on the sphere. Semantic is the
    corner m = 1, positional the corner e = 1; the origin is the uninformative saddle. One scale of grey for all four.

    Alt: Four contour maps over the quarter disc with flow lines out of the saddle at the origin.
    """
    frames.records("phase")
    arrays = frames.arrays("phase")
    axis, maps, omegas = arrays["contour_axis"], arrays["contours"], arrays["contour_omegas"]
    figure, axes = theme.grid(1, len(omegas), sharey=True, height=2.5)
    e, m = np.meshgrid(axis, axis, indexing="ij")
    outside = e**2 + m**2 > 1.1  # the rest is cut by a circle, not by squares of the grid
    levels = np.linspace(maps[:, e**2 + m**2 <= 1].min(), maps[:, e**2 + m**2 <= 1].max(), 15)
    for ax, omega, loss in zip(axes[0], omegas, maps, strict=True):
        by_e, by_m = np.gradient(loss, axis, axis)
        radial = m * by_m + e * by_e
        filled = ax.contourf(m, e, loss, levels, cmap="Greys", alpha=0.75, extend="both")
        speed_m, speed_e = (np.where(outside, np.nan, -g + x * radial) for g, x in ((by_m, m), (by_e, e)))
        # streamplot wants x along columns: [e, m] is [y, x]
        ax.streamplot(
            axis, axis, speed_m, speed_e, density=0.7, color=theme.colour("flow"), linewidth=0.7, arrowsize=0.6
        )
        rim = Circle((0, 0), 1, transform=ax.transData, fill=False, edgecolor="#555555", linewidth=0.6)
        ax.add_patch(rim)
        for drawn in [*ax.collections, *(p for p in ax.patches if p is not rim)]:
            drawn.set_clip_path(rim)
        ax.set_title(f"ω = {omega:g}")
        ax.set_xlabel("semantic overlap m")
        ax.set_aspect("equal")
        ax.grid(False)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
    axes[0, 0].set_ylabel("positional overlap e")
    figure.colorbar(filled, ax=list(axes[0]), label="R(e, m)", shrink=0.8)  # pyright: ignore[reportPossiblyUnboundVariable] (there are four maps)
    return figure


SHADES = ("#FFFFFF", "#BFBFBF", "#2E4A62", "#F2D9A0", "#D98E04", "#7FA8C9")


def phase_diagram(frames: Frames) -> Figure:
    """The phase diagram (E8) over the positional strength a and the mixing omega: which minimum of the population loss is
    the global one, whether there are others, and where the dynamics at the origin point. Lines: omega_dyn (dotted) and
    R(1, 0) = R(0, 1) (dashed). At omega = 1 the teacher has no semantic part and m has no meaning: left out.

    Alt: A map of regions over a and omega with two lines of the theory.
    """
    from descent.papers.ssi.phase import REGIONS
    from descent.papers.ssi.quadrature import omega_dynamics, omega_global

    frames.records("phase")
    arrays = frames.arrays("phase")
    widths, omegas, region = arrays["widths"], arrays["omegas"][:-1], arrays["region"][:, :-1]
    figure, axes = theme.grid(1, 1, width=7.2, height=5.0)
    ax = axes[0, 0]
    ax.pcolormesh(widths, omegas, region.T, cmap=ListedColormap(SHADES), norm=BoundaryNorm(np.arange(7) - 0.5, 6),
                  rasterized=True)  # fmt: skip
    some = widths[:: max(1, len(widths) // 40)]
    ax.plot(
        some, [omega_dynamics(float(a)) for a in some], color="#222222", linestyle=":", label="where the dynamics turn"
    )
    ax.plot(some, [omega_global(float(a)) for a in some], color="#222222", linestyle="--", label="R(1,0) = R(0,1)")
    ax.set_xlim(widths[0], widths[-1])
    ax.set_ylim(omegas[0], omegas[-1])
    ax.set_xlabel("a, strength of the positional teacher")
    ax.set_ylabel("ω, its weight")
    ax.grid(False)
    patches = [Patch(facecolor=c, edgecolor="#555555", label=name) for c, name in zip(SHADES, REGIONS, strict=True)]
    figure.legend(handles=[*ax.get_lines(), *patches], loc="outside lower center", ncols=2, fontsize=7)
    return figure


def encoding(frames: Frames) -> Figure:
    """Positional encoding lowers the exponent (E7). |m| and |e| of trace attention with and without the opposite
    positional encoding, mean and 95 % band over seeds; the grey line is 3/sqrt d.

    Alt: Overlaps against steps with and without positional encoding, |m| left and |e| right.
    """
    runs = frames.records("encoding")
    figure, axes = theme.grid(1, 2, sharey=True, height=2.8)
    for ax, metric in zip(axes[0], ("m", "e"), strict=True):
        for method in ("attention_pe", "attention"):
            part = runs.loc[(runs["metric"] == metric) & (runs["method"] == method) & (runs["step"] > 0), :]
            if metric == "m" or method == "attention_pe":
                theme.band(ax, part, method=method)
        ax.set_xscale("log")
        ax.set_xlabel("step")
        ax.set_title(f"|{metric}|")
    axes[0, 0].axhline(3 / np.sqrt(200), **GUIDE, linestyle=":", label="3/√d")
    theme.legend(figure, axes)
    return figure


def null_divergence(frames: Frames) -> Figure:
    """Null divergence (E6). Overlap over time for y = z*_1 - z*_2, every seed: the target's coefficients cancel, so a tied
    network has no first-order signal. The dotted line is the level of 0.3.

    Alt: Overlap curves of the seeds of the tied and the plain network, and the level.
    """
    figure, axes = theme.grid(1, 1, width=5.0, height=2.9)
    ax = axes[0, 0]
    frames.records("null")
    for method in ("tied", "plain"):
        part = frames.select("null", "overlap", method, target="difference")
        theme.seeds(ax, part.loc[part["step"] > 0, :], method=method)
    ax.axhline(0.3, **GUIDE, linestyle=":", label="level that counts as learned")
    ax.set_xlabel("step")
    ax.set_ylabel("overlap")
    theme.legend(figure, axes)
    return figure


def collapse(frames: Frames) -> Figure:
    """Scaled learning rates collapse the curves (E1-lr; at the paper's scale). Mean overlap over time, tied with lr and
    plain with lr x L (linear target) or lr x sqrt L (one informative token), a shade a length L, dark for long.

    Alt: Overlap curves against steps, a shade a length.
    """
    runs = frames.records("collapse")
    targets = [t for t in ("linear", "single") if t in set(runs["target"])]
    figure, axes = theme.grid(1, len(targets), sharey=True, height=2.8)
    lengths = sorted(runs["length"].unique())
    for ax, target in zip(axes[0], targets, strict=True):
        for method in ("tied", "plain"):
            for length, shade in zip(lengths, theme.shades(method, len(lengths)), strict=True):
                part = frames.select("collapse", "overlap", method, target=target, length=length)
                label = theme.label(method) if length == lengths[-1] else "_length"
                theme.band(ax, part.loc[part["step"] > 0, :], method=method, color=shade, label=label, alpha=0)
        ax.set_xscale("log")
        ax.set_title(target)
        ax.set_xlabel("step")
    axes[0, 0].set_ylabel("overlap")
    theme.legend(figure, axes)
    return figure


def square(frames: Frames) -> Figure:
    """Trace attention against a plain network with activation u^2 (E9; at the paper's scale). Gain in first-passage time
    against L, and the ratio of growth rates L E[Lap f]/2 [derived, Monte Carlo].

    Alt: Gain against length beside the predicted ratio of growth rates.
    """
    frames.records("square")
    figure, axes = theme.grid(1, 1, width=5.0, height=2.9)
    ax = axes[0, 0]
    _draw_gain(ax, _gain(frames, "square", "trace"), "trace")
    ax.plot([3, 4, 5, 7, 9], [0.42, 0.65, 0.86, 1.27, 1.67], **GUIDE, label="ratio of growth rates")
    ax.set_ylabel("gain")
    theme.legend(figure, axes)
    return figure


def official_gains(frames: Frames) -> Figure:
    """What tying gains in the official quadratic settings (E2; at the paper's scale). Left d = 3000, y = sum (z^2 - 1)/sqrt 2; right
    d = 1000 with the tied network's rate scaled by sqrt L, for which our prediction is L^1.5. 95 % intervals.

    Alt: Gain against length in two panels, with the predicted lines.
    """
    panels = (("quadratic_sum", "d = 3000, one rate", 1.0), ("quadratic_root", "d = 1000, tied with lr x √L", 1.5))
    if not any(frames.has(experiment) for experiment, *_ in panels):
        frames.records("quadratic_sum")
    figure, axes = theme.grid(1, 2, height=3.0)
    for ax, (experiment, title, power) in zip(axes[0], panels, strict=True):
        ax.set_title(title)
        if not frames.has(experiment):
            theme.absent(ax, frames.why(experiment))
            continue
        table = _gain(frames, experiment)
        x = np.geomspace(1, max(2, table["length"].max()), 60)
        ax.plot(x, x**power, **GUIDE, label="theory")
        _draw_gain(ax, table, "tied")
    axes[0, 0].set_ylabel("gain: steps of plain / tied")
    theme.legend(figure, axes)
    return figure


def official_transition(frames: Frames) -> Figure:
    """Semantic or positional, the official grid (E4; at the paper's scale). Share of runs that end with |e| > |m| after the official
    3e5 steps from the saddle, a panel a dimension; exact 95 % binomial intervals.

    Alt: Share of positional runs against omega, a panel a dimension.
    """
    runs = frames.records("transition_official")
    dimensions = sorted(runs["dimension"].unique())
    figure, axes = theme.grid(1, len(dimensions), sharey=True, height=3.0)
    for ax, dimension in zip(axes[0], dimensions, strict=True):
        _draw_share(ax, frames.select("transition_official", "positional", "sgd", dimension=dimension))
        ax.set_title(f"d = {dimension}")
        ax.set_xlabel("ω, weight of the positional teacher")
    axes[0, 0].set_ylabel("share of runs that end positional")
    return figure


def yellow(frames: Frames) -> Figure:
    """The yellow region (E8; at the paper's scale, extended): where runs end at a = 0.76, omega = 0.95, every seed; the quarter circle is
    e^2 + m^2 = 1.

    Alt: End points of runs in the plane of the two overlaps.
    """
    frames.records("yellow")
    figure, axes = theme.grid(1, 1, width=3.6, height=3.4)
    ax = axes[0, 0]
    m, e = (frames.select("yellow", name, "sgd").sort_values("seed")["value"] for name in ("m_final", "e_final"))
    ax.plot(m, e, linestyle="none", marker=theme.marker("sgd"), color=theme.colour("sgd"))
    ax.add_patch(Circle((0, 0), 1, fill=False, edgecolor="#555555", linewidth=0.6))
    ax.set_xlim(0, 1.05)
    ax.set_ylim(0, 1.05)
    ax.set_aspect("equal")
    ax.set_xlabel("final |m|")
    ax.set_ylabel("final |e|")
    return figure


FIGURES = {
    "trajectories": trajectories,
    "exponents": exponents,
    "gains": gains,
    "curves": curves,
    "transition": transition,
    "landscapes": landscapes,
    "phase_diagram": phase_diagram,
    "encoding": encoding,
    "null_divergence": null_divergence,
    "collapse": collapse,
    "square": square,
    "official_gains": official_gains,
    "official_transition": official_transition,
    "yellow": yellow,
}
