"""The page's figures. A docstring is the caption."""

from __future__ import annotations

import numpy as np
import pandas as pd

from descent.report import theme

OTHERS = ("tbptt", "fa", "rflo")
GRID = np.geomspace(1.0, 0.01, 41)


def _curves(
    frames, experiment: str, method: str, measure: str = "distance", **axes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps (T,), errors and measure (T, S)."""
    tables = [
        frames.select(experiment, metric, method, **axes).pivot_table(
            index="step", columns="seed", values="value", dropna=False
        )
        for metric in ("error", measure)
    ]
    return tables[0].index.to_numpy(), tables[0].to_numpy(), tables[1].to_numpy()


def _along_accuracy(frames, experiment: str, method: str, measure: str = "distance", **axes) -> pd.DataFrame:
    """The measure where each seed's error first falls to each of a grid of errors; errors that not all seeds reach left out."""
    _, errors, values = _curves(frames, experiment, method, measure, **axes)
    rows = []
    for seed in range(errors.shape[1]):
        best = np.fmin.accumulate(np.where(np.isfinite(errors[:, seed]), errors[:, seed], np.inf))
        for target in GRID:
            there = best <= target
            if not there.any():
                rows.append((target, seed, np.nan, "censored"))
                continue
            i = int(there.argmax())
            share = 1.0
            if i and np.isfinite(best[i - 1]):
                share = np.log(best[i - 1] / target) / np.log(best[i - 1] / best[i])
            value = values[i, seed] if share == 1.0 else values[i - 1, seed] * (1 - share) + values[i, seed] * share
            rows.append((target, seed, value, "ok" if np.isfinite(value) else "diverged"))
    return pd.DataFrame(rows, columns=["error", "seed", "value", "status"])


def _accuracy_lines(frames, ax, experiment: str, methods) -> bool:
    """Distance against error for each method, as far as all its seeds get; whether anything was drawn."""
    drawn = False
    for method in methods:
        if len(frames.select(experiment, "error", method)):
            rows = _along_accuracy(frames, experiment, method)
            whole = rows.groupby("error")["status"].transform(lambda s: (s == "ok").all())
            drawn |= len(theme.band(ax, rows.loc[whole, :], "error", method=method)) > 0
    return drawn


def _lines(frames, ax) -> None:
    """The baseline as a dashed line, the noise floor as a dotted one."""
    for metric, style in (("baseline", "--"), ("noise_floor", ":")):
        rows = frames.select("references", metric)
        if len(rows):
            name = {"baseline": "condition average", "noise_floor": "two halves of the recorded units"}[metric]
            ax.axhline(rows["value"].mean(), color="#808080", linestyle=style, linewidth=1.1, label=name)


def accuracy(frames):
    """Procrustes distance to the recordings against accuracy, as networks learn: where a seed's normalised error (NE) first falls to
    the value on the axis, which falls to the right; accuracy is 1 - NE. Mean over seeds, band: 95 % interval (range below five seeds);
    a line ends where a seed no longer gets there. Left: BPTT and e-prop (E1). Right: the other rules (E4). Vertical line: theta. Dashed:
    the recordings' own condition average; dotted: the distance of two disjoint halves of the recorded units, which is no lower bound
    for all of them.

    Alt: Two panels of distance against error on a reversed logarithmic axis, one line for each rule, with two horizontal reference lines.
    """
    figure, axes = theme.grid(1, 2, height=3.3, sharey=True)
    frames.records("rules")
    theta = next(v.params["target_error"] for job in frames.jobs("rules") for v in job.variants)
    for ax, experiment, methods in ((axes[0, 0], "rules", ("bptt", "eprop")), (axes[0, 1], "others", OTHERS)):
        drawn = _accuracy_lines(frames, ax, experiment, methods)
        if not drawn:
            ax.text(
                0.5,
                0.9,
                "no network's error falls to 1",
                transform=ax.transAxes,
                ha="center",
                fontsize=8,
                color="#555555",
            )
        _lines(frames, ax)
        ax.axvline(theta, color="#BBBBBB", linewidth=0.9, zorder=0)
        ax.set(xscale="log", xlabel="normalised error NE (accuracy rises to the right)")
        ax.invert_xaxis()
    if not frames.has("others"):
        theme.absent(axes[0, 1], frames.why("others"))
    axes[0, 0].set(ylabel="Procrustes distance to the recordings", title="BPTT and e-prop")
    axes[0, 1].set_title("Other rules")
    theme.legend(figure, axes)
    return figure


def learning(frames):
    """Normalised error (left) and Procrustes distance to the recordings (right) against updates (E1). Mean over seeds (geometric for
    the error), band: 95 % interval, range below five seeds. At equal updates the slower rule looks further from the recordings than at equal error.

    Alt: Two panels against updates, error on a logarithmic axis and distance, one line each for BPTT and e-prop.
    """
    figure, axes = theme.grid(1, 2, height=3.0)
    for ax, metric, name in (
        (axes[0, 0], "error", "normalised error"),
        (axes[0, 1], "distance", "Procrustes distance to the recordings"),
    ):
        frames.records("rules")
        for method in ("bptt", "eprop"):
            theme.band(ax, frames.select("rules", metric, method), method=method, log=metric == "error")
        ax.set(xlabel="updates", ylabel=name)
    axes[0, 0].set_yscale("log")
    _lines(frames, axes[0, 1])
    theme.legend(figure, axes)
    return figure


def _at_theta(frames, ax, groups, metric: str = "matched_distance") -> None:
    """groups: (label, experiment, methods, axes). One point a seed; how many seeds got there, where not all did."""
    ticks = []
    for at, (name, experiment, methods, axes) in enumerate(groups):
        for shift, method in zip(
            np.linspace(-0.22, 0.22, len(methods)) if len(methods) > 1 else [0.0], methods, strict=True
        ):
            rows = frames.select(experiment, metric, method, **axes)
            good = rows[rows["status"] == "ok"]
            if len(good):
                theme.points(
                    ax,
                    at + shift,
                    good["value"],
                    method,
                    spread=0.08,
                    interval=len(good) == len(rows),
                    label=theme.label(method),
                )
            if len(good) < len(rows):
                ax.annotate(
                    f"{len(good)} of {len(rows)}",
                    (at + shift, 0.02),
                    xycoords=("data", "axes fraction"),
                    ha="center",
                    fontsize=7,
                )
        ticks.append(name)
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.6, len(ticks) - 0.4)


def conditions(frames):
    """Procrustes distance where the error first reaches theta: by size of the initial recurrent weights g (E1, E2, left) and by
    architecture (E1, E3, right). A point a seed, bar: mean, vertical line: its 95 % interval. "n of m": only those seeds reached theta.

    Alt: Two panels of points by gain and by architecture, BPTT beside e-prop in each.
    """
    figure, axes = theme.grid(1, 2, height=3.1, sharey=True)
    both = ("bptt", "eprop")
    frames.records("rules")
    gains = [
        ("g = 0.5", "gains", both, {"gain": 0.5}),
        ("g = 1", "rules", both, {}),
        ("g = 1.5", "gains", both, {"gain": 1.5}),
    ]
    forms = [("max(tanh, 0)", "rules", both, {})]
    forms += [("tanh", "tanh", both, {}), ("Dale's law", "dale", both, {})]
    for ax, groups, title in ((axes[0, 0], gains, "Initial weights"), (axes[0, 1], forms, "Architecture")):
        _at_theta(frames, ax, [group for group in groups if frames.has(group[1])])
        _lines(frames, ax)
        ax.set_title(title)
    axes[0, 0].set_ylabel("Procrustes distance at theta")
    theme.legend(figure, axes)
    return figure


def rules(frames):
    """Procrustes distance where the error first reaches theta, for every rule: with max(tanh, 0) (E1, E4, left); with ReLU and Dale's
    law, which ModProp needs (right). A point a seed, bar: mean, vertical line: its 95 % interval. "n of m": only those seeds reached theta.

    Alt: Two panels of points, one column for each learning rule.
    """
    figure, axes = theme.grid(1, 2, height=3.1, width=7.2)
    frames.records("rules")
    left = [
        (theme.label(m), "rules" if m in ("bptt", "eprop") else "others", (m,), {}) for m in ("bptt", *OTHERS, "eprop")
    ]
    right = [(theme.label(m), "modprop", (m,), {}) for m in ("bptt", "modprop", "eprop")]
    for ax, groups, title in ((axes[0, 0], left, "max(tanh, 0)"), (axes[0, 1], right, "ReLU, Dale's law")):
        groups = [(name.replace(" ", "\n"), *rest) for name, *rest in groups if frames.has(rest[0])]
        if groups:
            _at_theta(frames, ax, groups)
        else:
            theme.absent(ax, frames.why("modprop"))
        ax.set_title(title)
        ax.set_ylabel("Procrustes distance at theta")
    return figure


def alternatives(frames):
    """The comparison at theta by other measures (E1): without the 320 ms reaction time, 1 - CKA, the distance above the noise floor on
    halves of the units, (d2 - d1) / (1 - d1), and Procrustes at the larger theta. A point a seed, bar: mean, line: its 95 % interval.

    Alt: Four panels of points, BPTT beside e-prop, one for each measure.
    """
    figure, axes = theme.grid(1, 4, height=2.9)
    frames.records("rules")
    measures = (
        ("matched_unshifted_distance", "onset unshifted"), ("matched_cka_distance", "1 - CKA"),
        ("normalised_distance", "above the floor"), ("loose_distance", "larger theta"),
    )  # fmt: skip
    for ax, (metric, title) in zip(axes[0], measures, strict=True):
        _at_theta(frames, ax, [("BPTT", "rules", ("bptt",), {}), ("e-prop", "rules", ("eprop",), {})], metric)
        ax.set_title(title)
    axes[0, 0].set_ylabel("distance at theta")
    return figure


def rates(frames):
    """Learning rates: Procrustes distance where the error first reaches theta (left) and updates until then (right), at half, once and
    twice the rate of E1. A point a seed, bar: mean, vertical line: its 95 % interval. "n of m": only those seeds reached theta.

    Alt: Two panels of points by learning rate, BPTT beside e-prop.
    """
    figure, axes = theme.grid(1, 2, height=3.0)
    both = ("bptt", "eprop")
    frames.records("rates")
    base = next((v.params["lr"] for job in frames.jobs("rules") for v in job.variants), None)
    found = [(lr, "rates", {"lr": lr}) for lr in sorted(frames.records("rates")["lr"].dropna().unique())]
    found += [(base, "rules", {})] if base is not None and base not in [f[0] for f in found] else []
    groups = [(f"{lr:g}", experiment, both, where) for lr, experiment, where in sorted(found, key=lambda f: f[0])]
    for ax, metric, name in (
        (axes[0, 0], "matched_distance", "Procrustes distance at theta"),
        (axes[0, 1], "updates_needed", "updates to theta"),
    ):
        _at_theta(frames, ax, groups, metric)
        ax.set(xlabel="Adam's learning rate", ylabel=name)
    theme.legend(figure, axes)
    return figure


def dynamics(frames):
    """Left: networks where theta is reached, on a map that keeps DSA angles between their dynamics as far as two dimensions can
    (classical scaling; E7); colour and marker: rule; lighter to darker: g = 0.5, 1, 1.5. Right: eigenvalues of the recurrent matrix of
    the first seed before (grey) and after training, by rule; circle: radius 1.

    Alt: A scatter map of trained networks, beside two panels of eigenvalues in the complex plane.
    """
    figure, axes = theme.grid(1, 3, height=2.9)
    arrays = frames.arrays("dynamics") if frames.has("dynamics") else {}
    if "map_distances" in arrays:
        _map(axes[0, 0], arrays["map_distances"], [str(name) for name in arrays["map_networks"]])
    else:
        theme.absent(axes[0, 0], frames.why("dynamics"))
    trained = frames.arrays("rules") if frames.has("rules") else {}
    for ax, method in zip(axes[0, 1:], ("bptt", "eprop"), strict=True):
        if f"eigenvalues_last_{method}" not in trained:
            theme.absent(ax, frames.why("rules", method))
            continue
        for part, style in (("first", {"color": "#AAAAAA"}), ("last", {"color": theme.colour(method)})):
            values = trained[f"eigenvalues_{part}_{method}"][0]
            ax.plot(values[:, 0], values[:, 1], linestyle="none", marker=".", markersize=3, **style)
        turn = np.linspace(0, 2 * np.pi, 200)
        ax.plot(np.cos(turn), np.sin(turn), color="#888888", linewidth=0.7)
        ax.set(title=theme.label(method), xlabel="real part", ylabel="imaginary part", aspect="equal")
    theme.legend(figure, axes[0, :1])
    return figure


def _map(ax, distances: np.ndarray, names: list[str]) -> None:
    """Classical scaling of those networks that have all their distances."""
    sound = np.isfinite(distances).sum(1) > 1
    sound &= np.isfinite(distances[:, sound]).all(1)
    if sound.sum() < 3:
        return theme.absent(ax, "too few networks reach theta")
    kept, names = distances[np.ix_(sound, sound)], [n for n, ok in zip(names, sound, strict=True) if ok]
    n = len(kept)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ kept**2 @ centre)
    place = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    order = {"gain=0.5": 0, "": 1, "gain=1.5": 2}
    for method in ("bptt", "eprop"):
        shades = theme.shades(method, 3)
        for suffix, shade in order.items():
            own = [
                i for i, name in enumerate(names) if name.split("_")[0] == method and name.partition("_")[2] == suffix
            ]
            if own:
                label = f"{theme.label(method)}, g = {suffix.removeprefix('gain=') or 1}"
                ax.plot(
                    place[own, 1],
                    place[own, 0],
                    linestyle="none",
                    marker=theme.marker(method),
                    color=shades[shade],
                    label=label,
                )
    ax.set(title="DSA map", xlabel="first coordinate (rad)", ylabel="second coordinate (rad)")
    return None


def components(frames):
    """The first two principal components of the recordings (left) and the activity of one network of each rule where theta is reached,
    rotated and scaled onto them; first seed, one line for each direction, dot: its start.

    Alt: Three panels of eight trajectories in a plane: recordings, BPTT and e-prop.
    """
    figure, axes = theme.grid(1, 3, height=2.8, sharex=True, sharey=True)
    recorded = frames.arrays("references").get("recorded") if frames.has("references") else None
    trained = frames.arrays("rules") if frames.has("rules") else {}
    if recorded is None:
        frames.records("references")
        return theme.plain("Components", "the recordings were not kept")
    size = np.linalg.norm(recorded)
    colours = theme.shades("recordings", 8)
    for ax, method in zip(axes[0], ("recordings", "bptt", "eprop"), strict=True):
        if method == "recordings":
            shown = recorded
        else:
            x = trained.get(f"activity_{method}")
            if x is None or not np.isfinite(x[0]).all():
                theme.absent(ax, "theta was not reached" if x is not None else frames.why("rules", method))
                continue
            left, _, right = np.linalg.svd(x[0].T @ recorded, full_matrices=False)
            shown = (x[0] @ left @ right) * (size / np.linalg.norm(x[0]))
            colours = theme.shades(method, 8)
        for direction, path in enumerate(shown.reshape(8, -1, shown.shape[1])):
            ax.plot(path[:, 0], path[:, 1], color=colours[direction], linewidth=1.1)
            ax.plot(path[:1, 0], path[:1, 1], marker="o", markersize=3, color=colours[direction])
        ax.set(title=theme.label(method), xlabel="first component (spikes/s)")
    axes[0, 0].set_ylabel("second component (spikes/s)")
    return figure


def mante(frames):
    """Mante's task (E5): cross-entropy over all steps (left) and accuracy in the decision period (right) against updates. Mean over
    seeds (geometric for the loss), band: 95 % interval, range below five seeds. No recordings of this task can be had.

    Alt: Two panels against updates, loss on a logarithmic axis and accuracy, one line each for BPTT and e-prop.
    """
    figure, axes = theme.grid(1, 2, height=2.9)
    frames.records("mante")
    for ax, metric, name in (
        (axes[0, 0], "loss", "cross-entropy"),
        (axes[0, 1], "decision_accuracy", "accuracy in the decision period"),
    ):
        for method in ("bptt", "eprop"):
            theme.band(ax, frames.select("mante", metric, method), method=method, log=metric == "loss")
        ax.set(xlabel="updates", ylabel=name)
    axes[0, 0].set_yscale("log")
    theme.legend(figure, axes)
    return figure


def toy(frames):
    """The scalar linear network (E6): the weight against updates of gradient descent, from starts in (0, 1.2), by both rules. Dotted:
    the weight w* that solves the task.

    Alt: Two panels of a dozen weight trajectories each, one for BPTT and one for e-prop, with a horizontal line at the solution.
    """
    figure, axes = theme.grid(1, 2, height=2.8, sharey=True)
    records = frames.records("toy")
    wanted = next(v.params["wanted"] for job in frames.jobs("toy") for v in job.variants)
    for ax, method in zip(axes[0], ("bptt", "eprop"), strict=True):
        starts = sorted(records["start"].unique())
        for start, shade in zip(starts, theme.shades(method, len(starts)), strict=True):
            rows = frames.select("toy", "weight", method, start=start).sort_values("step")
            ax.plot(rows["step"], rows["value"], color=shade, linewidth=1.0)
        ax.axhline(wanted, color="#555555", linestyle=":", linewidth=1.0)
        ax.set(xlabel="updates", title=theme.label(method), xlim=(0, 200))
    axes[0, 0].set_ylabel("weight w")
    return figure


def known(frames):
    """Where the answer is known. Left: distances measured on activity that was made to lie at a planted Procrustes distance from
    made-up recordings; line: equality. Right: distance against error for networks trained on the made-up recordings' movement; mean over seeds,
    band: 95 % interval, range below five seeds. Made-up recordings say nothing of brains.

    Alt: Measured against planted distances on a diagonal, beside distance against error for BPTT and e-prop.
    """
    figure, axes = theme.grid(1, 2, height=3.0)
    rows = frames.select("planted", "distance") if frames.has("planted") else pd.DataFrame()
    if len(rows):
        axes[0, 0].plot([0, 1], [0, 1], color="#808080", linewidth=0.9, label="equality")
        axes[0, 0].plot(
            rows["planted"], rows["value"], linestyle="none", marker="o", markersize=4, color=theme.colour("recordings")
        )
        axes[0, 0].set(xlabel="planted distance", ylabel="measured distance")
    else:
        theme.absent(axes[0, 0], frames.why("planted"))
    if frames.has("generated"):
        _accuracy_lines(frames, axes[0, 1], "generated", ("bptt", "eprop"))
        axes[0, 1].set(xscale="log", xlabel="normalised error NE", ylabel="Procrustes distance")
        axes[0, 1].invert_xaxis()
    else:
        theme.absent(axes[0, 1], frames.why("generated"))
    theme.legend(figure, axes)
    return figure


def times(frames):
    """Process CPU time of one update of one network on one thread: the study's stacked step, and a module a network with autograd as in the
    official code, at study size (100 units, batches of 32, 36 steps) with one network and with eight side by side, and at the paper's (200
    units, batches of 100, 300 steps) with one. Median over repeats, bars from the lower to the upper quartile.

    Alt: Dots on a logarithmic time axis at three sizes, one colour for each of four ways.
    """
    cost = frames.records("cost")
    cost = cost[cost["metric"] == "step_cpu_seconds"]
    sizes = cost[["units", "stack"]].drop_duplicates().sort_values(["units", "stack"]).to_numpy(int).tolist()
    figure, axes = theme.grid(1, 1, width=5.2, height=3.0)
    ax = axes[0, 0]
    for i, method in enumerate(("bptt", "eprop", "cell_bptt", "cell_eprop")):
        for place, (units, stack) in enumerate(sizes):
            own = cost[(cost["method"] == method) & (cost["units"] == units) & (cost["stack"] == stack)]["value"]
            if len(own):
                low, middle, high = 1e3 * np.quantile(own.to_numpy(float), [0.25, 0.5, 0.75]) / stack
                at, colour = place + 0.12 * (i - 1.5), theme.colour(method)
                ax.vlines(at, low, high, color=colour)
                ax.plot(at, middle, theme.marker(method), color=colour, label=theme.label(method))
    ax.set_xticks(range(len(sizes)), [f"{units} units, {stack} stacked" for units, stack in sizes])
    ax.set(yscale="log", xlabel="size", ylabel="CPU time of an update (ms)")
    theme.legend(figure, axes)
    return figure


FIGURES = {
    "accuracy": accuracy,
    "learning": learning,
    "conditions": conditions,
    "rules": rules,
    "alternatives": alternatives,
    "rates": rates,
    "dynamics": dynamics,
    "components": components,
    "mante": mante,
    "toy": toy,
    "known": known,
    "times": times,
}
