"""The page's figures. A docstring is the caption. Everything shown is our own instance: the paper's numbers are unknown to us."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from descent.report import theme

GRAPHONS = ("constant", "minmax", "unifatt", "threshold", "cosine", "sbm", "powerlaw")
PARTS = (
    ("K_error", "slope |K - K*| / |K*|"),
    ("G_error", "intercepts |G - G*| / |G*|"),
    ("Z_error", "aggregates |Z - Z*| / |Z*|"),
)
DASHES = ("-", (0, (6, 1.5)), (0, (3, 1)), (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (3, 1, 1, 1)), (0, (6, 1, 1, 1, 1, 1)))
BASELINES = ("pg", "single", "picard", "damped", "vanilla", "unscaled", "naive")


def _rates(frames, experiment: str) -> dict[str, float]:
    """rho of every graphon that was run, smallest first."""
    rows = frames.select(experiment, "rho")
    return rows.groupby("graphon")["value"].first().sort_values().to_dict()


def convergence(frames):
    """Relative errors after each population update, from random starts (E1): geometric mean over seeds, band from the best to
    the worst seed. Darker graphons have a larger outer rate ρ, and each has its own dash; all share one slope. Dotted: the level 1e-5 of
    claim c1.

    Alt: Three panels of error curves on a logarithmic axis, one curve for each graphon.
    """
    figure, axes = theme.grid(1, 3, sharex=True, height=3.3)
    rates = _rates(frames, "graphons")
    for ax, (metric, title) in zip(axes[0], PARTS, strict=True):
        for i, ((name, rho), shade) in enumerate(zip(rates.items(), theme.shades("pg", len(rates)), strict=True)):
            rows = frames.select("graphons", metric, "pg", graphon=name)
            style = {"color": shade, "linestyle": DASHES[i % len(DASHES)], "label": f"{name} (ρ = {rho:.3f})"}
            theme.band(ax, rows, method="pg", log=True, spread="range", **style)
        ax.axhline(1e-5, color="#555555", linewidth=0.8, linestyle=":", label="level of c1")
        ax.set(
            yscale="log", xlabel="population updates", ylabel="relative error" if ax is axes[0, 0] else "", title=title
        )
    theme.legend(figure, axes)
    return figure


def rates(frames):
    """Measured outer factor against the oracle's rho, with long inner loops (E1): mean over seeds, bar from least to largest;
    the factor is fitted to the last five |Z - Z*| above 1e-9. On the diagonal they agree.

    Alt: One point for each graphon, with the diagonal on which factor and rho agree.
    """
    figure, axes = theme.grid(1, 1, width=4.4, height=3.4)
    ax, rho = axes[0, 0], _rates(frames, "rates")
    top = 1.3 * max(rho.values())
    ax.plot([0, top], [0, top], color="#555555", linewidth=0.8, linestyle=":")
    for name, rate in rho.items():
        rows = frames.select("rates", "Z_distance", "pg", graphon=name)
        factors = rows.groupby("seed")[["step", "value"]].apply(_last_factor)
        error = [[factors.mean() - factors.min()], [factors.max() - factors.mean()]]
        style = {"marker": theme.marker("pg"), "color": theme.colour("pg"), "linestyle": "none"}
        ax.errorbar([rate], [factors.mean()], yerr=error, **style)
    for i, (rate, names) in enumerate(_neighbours(rho)):
        below = {"xytext": (7, -9)} if i % 2 == 0 else {"xytext": (-7, 5), "ha": "right"}
        ax.annotate(", ".join(names), (rate, rate), textcoords="offset points", fontsize=8, **below)
    ax.set(xlabel="ρ (oracle)", ylabel="measured factor", xlim=(0, top), ylim=(0, top))
    return figure


def _neighbours(rho: dict[str, float]) -> list[tuple[float, list[str]]]:
    """Graphons whose points would lie on each other, together."""
    groups: list[tuple[float, list[str]]] = []
    for name, rate in rho.items():
        if groups and rate - groups[-1][0] < 0.005:
            groups[-1][1].append(name)
        else:
            groups.append((rate, [name]))
    return groups


def _last_factor(rows: pd.DataFrame) -> float:
    rows = rows.sort_values("step")
    kept = rows[rows["value"] > 1e-9].tail(5)
    return float(np.exp(np.polyfit(kept["step"], np.log(kept["value"]), 1)[0])) if len(kept) > 2 else np.nan


def best_response(frames):
    """The inner loops with the population frozen at the equilibrium (E2): the slope from its start, natural and vanilla
    gradients; the intercepts from theirs with K = K*. Dotted: the derived factor 0.7 a step. Band: least to largest seed.

    Alt: Two panels of error curves on a logarithmic axis, slope and intercepts, beside a dotted line that falls by 0.7 a step.
    """
    figure, axes = theme.grid(1, 2, height=2.9)
    for ax, (metric, title), methods in zip(axes[0], PARTS[:2], (("vanilla", "pg"), ("pg",)), strict=True):
        tables = [
            theme.band(ax, frames.select("best_response", metric, method), method=method, log=True, spread="range")
            for method in methods
        ]
        table = tables[-1]
        if len(table):
            ax.plot(
                table["step"],
                table["mean"].iloc[0] * 0.7 ** table["step"],
                color="#555555",
                linewidth=0.8,
                linestyle=":",
                label="0.7 a step",
            )
        ax.set(yscale="log", xlabel="gradient steps", ylabel="relative error" if ax is axes[0, 0] else "", title=title)
    theme.legend(figure, axes)
    return figure


def frequency(frames):
    """Gradient steps to a relative error of 1e-6 against the number N of actions in unit time (E3), for functional gradients
    (PG-GMFG) and Euclidean ones with the step size that suits N = 10 (B2). Mean over seeds, band from least to largest.

    Alt: Two panels, slope and intercept, of steps against N on logarithmic axes, one line for each method.
    """
    figure, axes = theme.grid(1, 2, height=2.9, sharey=True)
    for ax, part in zip(axes[0], ("slope", "intercept"), strict=True):
        for method in ("pg", "unscaled"):
            rows = frames.select("frequency", f"{part}_steps_needed", method)
            theme.band(ax, rows, "intervals", method=method, spread="range", marker=theme.marker(method))
        counts = sorted(frames.records("frequency")["intervals"].unique())
        ax.set(xscale="log", yscale="log", xlabel="N, actions in unit time", title=part)
        ax.set_xticks(counts, [str(n) for n in counts])
        ax.minorticks_off()
    axes[0, 0].set_ylabel("gradient steps to 1e-6")
    theme.legend(figure, axes)
    return figure


def noise(frames):
    """Slope gradients under noise of intensity D, v0 = D² (E4). Left: error against steps; the natural gradient's curve is the
    same at every D, the vanilla's darker for larger D. Right: steps to 1e-6; a triangle marks runs not there after the cap, a
    cross runs that diverged.

    Alt: Error curves of vanilla and natural gradients on the left, steps needed against the noise level on the right.
    """
    figure, axes = theme.grid(1, 2, height=3.1)
    left, right = axes[0]
    levels = sorted(frames.records("noise")["noise"].unique())
    for level, shade in zip(levels, theme.shades("vanilla", len(levels)), strict=True):
        rows = frames.select("noise", "K_error", "vanilla", noise=level)
        theme.band(
            left,
            rows[rows["step"] > 0],
            method="vanilla",
            log=True,
            spread="range",
            color=shade,
            label=f"vanilla, D = {level:g}",
        )
    rows = frames.select("noise", "K_error", "pg", noise=levels[0])
    theme.band(left, rows[rows["step"] > 0], method="pg", log=True, spread="range")
    left.set(xscale="log", yscale="log", ylim=(1e-9, 10), xlabel="slope steps", ylabel=PARTS[0][1])
    for method in ("pg", "vanilla"):
        cells = frames.select("noise", "slope_steps_needed", method)
        arrived = cells[cells["status"] == "ok"]
        style = {"color": theme.colour(method), "linestyle": "none"}
        right.plot(arrived["noise"], arrived["value"], marker=theme.marker(method), label=theme.label(method), **style)
        cap = frames.select("noise", "K_error", method)["step"].max()
        for status, mark in (("censored", "^"), ("diverged", "x")):
            lost = cells[cells["status"] == status]
            if len(lost):
                why = {"censored": "not within the cap", "diverged": "diverged"}[status]
                label = f"{theme.label(method)}, {why}"
                right.plot(lost["noise"], [cap] * len(lost), marker=mark, markersize=8, label=label, **style)
    right.set(xscale="log", yscale="log", xlabel="noise intensity D", ylabel="slope steps to 1e-6")
    theme.legend(figure, axes)
    return figure


def sampling(frames):
    """Final relative errors of the model-free version against the number n of runs a player (E5): mean over seeds with its 95 %
    interval. Dotted: 1 / √n. Darker: more noise.

    Alt: Three panels of errors against n on logarithmic axes, one line for each noise level, beside a dotted line of slope -1/2.
    """
    figure, axes = theme.grid(1, 3, height=2.9)
    records = frames.records("sampling")
    levels, counts = sorted(records["noise"].unique()), sorted(records["particles"].unique())
    for ax, (metric, title) in zip(axes[0], PARTS, strict=True):
        for level, shade in zip(levels, theme.shades("sampled", len(levels)), strict=True):
            rows = frames.select("sampling", metric, "sampled", noise=level)
            rows = rows[rows["step"] == rows["step"].max()]
            label = f"D = {level:g}"
            theme.band(
                ax, rows, "particles", method="sampled", color=shade, label=label, marker=theme.marker("sampled")
            )
        first = records[(records["metric"] == metric) & (records["particles"] == counts[0])]
        guide = first[first["step"] == first["step"].max()]["value"].mean() * np.sqrt(counts[0] / np.array(counts))
        ax.plot(counts, guide, color="#555555", linewidth=0.8, linestyle=":", label="1 / √n")
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="n, runs a player",
            ylabel="final relative error" if ax is axes[0, 0] else "",
            title=title,
        )
        ax.set_xticks(counts, [str(n) for n in counts])
        ax.minorticks_off()
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
    theme.legend(figure, axes)
    return figure


def equilibria(frames):
    """The equilibrium of the default start on each graphon: aggregates Z*(t, x) above, intercepts G*(t, x) below; time runs to
    the right, players x upwards. One colour scale a row.

    Alt: Two rows of heat maps over time and players, one column for each graphon.
    """
    arrays = frames.arrays("equilibria")
    names = [name for name in GRAPHONS if f"Z_{name}" in arrays]
    if not names:
        frames.records("equilibria")  # says why there is nothing
    figure, axes = theme.grid(2, len(names), height=3.2, sharex=True, sharey=True)
    for row, (part, label) in enumerate((("Z", "Z*"), ("G", "G*"))):
        shown = [arrays[f"{part}_{name}"] for name in names]
        low, high = min(x.min() for x in shown), max(x.max() for x in shown)
        images = []
        for column, name in enumerate(names):
            ax = axes[row, column]
            style = {"origin": "lower", "aspect": "auto", "extent": (0, 1, 0, 1), "cmap": "cividis"}
            images.append(ax.imshow(shown[column].T, vmin=low, vmax=high, **style))
            ax.grid(visible=False)
            if row == 0:
                ax.set_title(name)
        axes[row, 0].set_ylabel("player x")
        figure.colorbar(images[-1], ax=axes[row, :].tolist(), label=label, aspect=12)
    for ax in axes[1]:
        ax.set_xlabel("time t")
    return figure


def coupling(frames):
    """|Z - Z*| relative to |Z*| under three strengths of coupling (E6), with the oracle's rate ρ of each: derived is that it falls where ρ is
    below 1 and grows where it is above. Band: least to largest seed.

    Alt: One panel for each of three graphons, one curve of the error for each strength of the coupling.
    """
    records = frames.records("coupling")
    names = [name for name in ("unifatt", "threshold", "constant") if name in set(records["graphon"])]
    strengths = [s for s in ("weak", "middle", "strong") if s in set(records["coupling"])]
    figure, axes = theme.grid(1, len(names), height=3.1, sharex=True, sharey=True)
    axes[0, 0].set_ylabel("|Z - Z*| / |Z*|")
    for ax, name in zip(axes[0], names, strict=True):
        lines = []
        for strength, shade in zip(strengths, theme.shades("pg", len(strengths)), strict=True):
            rows = frames.select("coupling", "Z_error", "pg", coupling=strength, graphon=name)
            dash = DASHES[strengths.index(strength)]
            theme.band(
                ax,
                rows,
                method="pg",
                log=True,
                spread="range",
                color=shade,
                linestyle=dash,
                label=f"{strength} coupling",
            )
            rho = frames.select("coupling", "rho", coupling=strength, graphon=name)["value"].iloc[0]
            lines.append(f"{strength}: ρ = {rho:.3f}")
        ax.set(yscale="log", xlabel="population updates", title=name)
        ax.text(0.03, 0.97, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=8)
    theme.legend(figure, axes)
    return figure


def baselines(frames):
    """Every method from the same random starts on unifatt (E7). Left: aggregates' error after each population update, mean and
    band over seeds. Right: gradient steps to a relative error of 1e-6, a point a seed; a triangle marks
    runs that never got there, the number is the mean over the others. Exact responses (B3, B5) take no gradient steps. Population updates
    and gradient steps have different costs: whether two loops pay is read from both panels together.

    Alt: Error curves of seven methods on the left, gradient steps needed by five of them on the right.
    """
    figure, axes = theme.grid(1, 2, height=3.4)
    left, right = axes[0]
    present = [m for m in BASELINES if m in set(frames.records("baselines")["method"])]
    for method in present:
        theme.band(left, frames.select("baselines", "Z_error", method), method=method, log=True, spread="range")
    left.set_xscale("symlog", linthresh=1)
    left.set(yscale="log", xlim=(0, None), xlabel="population updates", ylabel=PARTS[2][1])
    counted = [m for m in present if len(frames.select("baselines", "gradient_steps_needed", m))]
    for at, method in enumerate(counted):
        cells = frames.select("baselines", "gradient_steps_needed", method)
        arrived, lost = cells[cells["status"] == "ok"], cells[cells["status"] != "ok"]
        if len(arrived):
            theme.points(right, at, arrived["value"], method)
            mean = arrived["value"].mean()
            right.annotate(
                f"{mean:.0f}", (at + 0.25, mean), xytext=(2, 0), textcoords="offset points", va="center", fontsize=8
            )
        if len(lost):
            right.plot(
                at,
                0.95,
                marker="^",
                color=theme.colour(method),
                transform=right.get_xaxis_transform(),
                linestyle="none",
            )
    right.set(yscale="log", xlabel="method", ylabel="gradient steps to 1e-6", xlim=(-0.5, len(counted) - 0.2))
    right.set_xticks(range(len(counted)), [theme.label(m).split(" ")[0] for m in counted])
    theme.legend(figure, axes)
    return figure


FIGURES = {
    "convergence": convergence,
    "rates": rates,
    "best_response": best_response,
    "frequency": frequency,
    "noise": noise,
    "sampling": sampling,
    "equilibria": equilibria,
    "coupling": coupling,
    "baselines": baselines,
}
