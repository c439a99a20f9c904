"""The figures of the report. A function's docstring is its caption."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from descent.report import theme

MAJORITY = 0.30
MAIN = ("dual", "dpsgd", "dpzo")
MEMORY = ("dual", "dpsgd", "dpzo", "dpzo_m1")
MASKS = ("noisy_mask", "clean_mask")
PARTS = (
    ("accuracy", "dual"), ("accuracy", "dpsgd"), ("ablation", "m1"), ("ablation", "m2"), ("ablation", "random_blocks"),
    ("ablation", "random_tokens"), ("ablation", "no_fusion"), ("ablation", "low_rank"), ("ablation", "dpzo_m1"),
    ("accuracy", "dpzo"), ("ablation", "zero_shot"),
)  # fmt: skip


def last(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step."""
    return rows.loc[rows["step"] == rows["step"].max(), :] if len(rows) else rows


def accuracy(frames) -> Figure:
    """Accuracy against epsilon; mean and 95 % interval over seeds (a bar from the least to the largest where there are fewer than
    five). Dashed: the best constant answer, 0.30; dotted: DP-SGD without noise. Right: the same runs along their steps, at the smallest
    epsilon.

    Alt: Test accuracy of Dual-Priv, DP-SGD and DPZero against epsilon, and along the steps of a run, beside the best constant answer.
    """
    figure, axes = theme.grid(1, 2)
    left, right = axes[0]
    rows = frames.records("accuracy")
    epsilons = sorted(rows["epsilon"].unique(), key=float)
    for number, method in enumerate(MAIN):
        at, mean, low, high = [], [], [], []
        for place, epsilon in enumerate(epsilons):
            table = theme.summary(last(frames.select("accuracy", "accuracy", method, epsilon=epsilon)))
            if len(table):
                at.append(place + 0.08 * (number - 1))
                mean, low, high = [*mean, table["mean"][0]], [*low, table["low"][0]], [*high, table["high"][0]]
        if at:
            style = theme.line(method)
            errors = np.abs(np.array([low, high]) - np.array(mean))
            left.errorbar(at, mean, errors, marker=theme.marker(method), capsize=2, **style)
            if method == "dpsgd" and epsilons[-1] == "inf":
                for ax in (left, right):
                    ax.axhline(mean[-1], color="#808080", linewidth=1, linestyle=":")
    left.axhline(MAJORITY, color="#808080", linewidth=1, linestyle="--")
    left.set_xticks(range(len(epsilons)), ["∞" if e == "inf" else e for e in epsilons])
    left.set(xlabel="epsilon", ylabel="test accuracy", ylim=(0, 1))
    shown = "1" if "1" in epsilons else epsilons[0]
    for method in MAIN:
        theme.band(right, frames.select("accuracy", "accuracy", method, epsilon=shown), method=method)
    right.axhline(MAJORITY, color="#808080", linewidth=1, linestyle="--")
    right.set(xlabel="step", ylim=(0, 1), title=f"epsilon = {shown}")
    theme.legend(figure, left)
    return figure


def memory(frames) -> Figure:
    """Counted peak memory. Left: the small model against the micro-batch. Right: ratios of Dual-Priv to DP-SGD and to DPZero, of the
    small model at micro-batch 8 and, at the paper's size and micro-batch 1, for what is counted beside the step; dashes mark the
    paper's 0.857 and 1.017.

    Alt: Counted peak memory of Dual-Priv, DP-SGD, DPZero and DPZero on pruned tokens; ratios of Dual-Priv to DP-SGD and to DPZero.
    """
    figure, axes = theme.grid(1, 2, width=8.4, height=3.2)
    left, right = axes[0]
    for method in MEMORY:
        rows = frames.select("footprint", "peak_memory", method).sort_values("micro_batch_size")
        left.plot(rows["micro_batch_size"], rows["value"], marker=theme.marker(method), **theme.line(method))
    left.set(xscale="log", yscale="log", xlabel="micro-batch", ylabel="peak memory (MB)", title="small model")
    small = frames.records("footprint").assign(counted="small model, micro-batch 8")
    small = small[small["micro_batch_size"] == 8]
    large = frames.records("footprint_7b")
    large = large[large["micro_batch_size"] == 1]
    table = pd.concat([small, large])
    table = table[table["metric"] == "peak_memory"]
    wide = table.pivot_table(index="counted", columns="method", values="value", sort=False)
    places = np.arange(len(wide))
    for offset, method, mark in ((-0.18, "dpsgd", 0.8566), (0.18, "dpzo", 1.0174)):
        if method in wide and "dual" in wide:
            right.barh(places + offset, wide["dual"] / wide[method], 0.34, color=theme.colour(method))
            right.axvline(mark, color=theme.colour(method), linestyle="--", linewidth=1)
    right.axvline(1, color="#555555", linewidth=0.8)
    right.set_yticks(places, wide.index)
    right.invert_yaxis()
    right.set(
        xlim=(0, 1.6),
        xlabel="peak of Dual-Priv / peak of the baseline",
        title="ratios; the paper's size unless said",
    )
    theme.legend(figure, left)
    return figure


def ablation(frames) -> Figure:
    """Accuracy at epsilon = 1, a point a seed, their mean and its 95 % interval. Left: Dual-Priv, each mechanism alone, and the
    controls (grey) that were run, in which one part is left out or replaced by chance; dashed: the best constant answer, 0.30. Right,
    where it was run: Dual-Priv and as many random blocks against the share of blocks kept; all of them is M1 alone.

    Alt: Test accuracy at epsilon = 1, a point a seed: Dual-Priv, DP-SGD, each mechanism alone, and the controls.
    """
    figure, axes = theme.grid(1, 2, width=8.4, height=3.2, width_ratios=(2.6, 1))
    left, right = axes[0]
    names = []
    for experiment, method in PARTS:
        values = at_one(frames, experiment, method)
        if values.empty:
            continue
        colour = theme.colour(method) if method in (*MAIN, "random_blocks") else "#666666"
        theme.points(left, len(names), values, method, interval=True, color=colour)
        names.append(theme.label(method))
    left.axhline(MAJORITY, color="#808080", linewidth=1, linestyle="--")
    left.set_xticks(range(len(names)), names, rotation=25, ha="right")
    left.set(ylabel="test accuracy", ylim=(-0.02, 1))
    if not frames.has("keep"):
        theme.absent(right, frames.why("keep"), width=22)
        return figure
    for number, (experiment, method) in enumerate((("accuracy", "dual"), ("ablation", "random_blocks"))):
        rows = frames.select("keep", "accuracy", method)
        shares = {float(share): by_seed(part) for share, part in rows.groupby("keep")}
        shares |= {0.8: at_one(frames, experiment, method), 1.0: at_one(frames, "ablation", "m1")}
        shares = {share: values for share, values in sorted(shares.items()) if len(values)}
        places = [share + 0.024 * (number - 0.5) for share in shares]
        for place, values in zip(places, shares.values(), strict=True):
            theme.points(right, place, values, method, spread=0.008, interval=True)
        right.plot(places, [values.mean() for values in shares.values()], **theme.line(method))
    right.set(xlabel="share of blocks kept", ylim=(-0.02, 1))
    right.legend(loc="lower right")
    return figure


def at_one(frames, experiment: str, method: str) -> pd.Series:
    """Accuracy at the end by seed, at epsilon = 1 (or the first there is), without variations of the fusion noise."""
    rows = frames.select(experiment, "accuracy", method) if frames.has(experiment) else pd.DataFrame()
    if rows.empty:
        return pd.Series(dtype=float)
    if experiment == "accuracy":
        found = list(rows["epsilon"])
        rows = rows.loc[rows["epsilon"] == ("1" if "1" in found else found[0]), :]
    return by_seed(rows)


def by_seed(rows: pd.DataFrame) -> pd.Series:
    """The value of the last step by seed, in the order of the seeds."""
    found = last(rows).groupby("seed")["value"].mean()
    assert isinstance(found, pd.Series)
    return found


def audits(frames) -> Figure:
    """Left: what each audit proves of epsilon (dot: 95 % lower bound, the largest of its seeds), the most that it could have proved
    (tick), and what is claimed (line). A dot beyond its line refutes the claim, as the twins that leak must: they add a twentieth of
    the noise, or none. Right: ROC curves of loss-threshold membership inference on trained models, mean over seeds; on the diagonal the
    attack knows nothing.

    Alt: Lower bounds on epsilon by audit, honest runs and their leaking twins, beside the claimed epsilon; ROC curves of the attack.
    """
    rows = audit_rows(frames)
    figure, axes = theme.grid(1, 2, width=8.4, height=1.2 + 0.17 * max(len(rows), 8), width_ratios=(1.7, 1))
    left, right = axes[0]
    for place, (text, found) in enumerate(rows.items()):
        honest = "noise" not in text or "mask after" in text
        colour = theme.colour("dual") if honest else "#808080"
        left.plot([0, found["epsilon_cap"]], [place, place], color="#DDDDDD", linewidth=1, zorder=1)
        left.plot(found["epsilon_cap"], place, marker="|", color="#808080", linestyle="none")
        left.plot(found["epsilon_lower_bound"], place, marker="o" if honest else "s", color=colour, linestyle="none")
        left.plot([found["nominal_epsilon"]] * 2, [place - 0.4, place + 0.4], color="#CC3311", linewidth=1.4)
    left.set_yticks(range(len(rows)), list(rows), fontsize=6.5)
    left.set(xlabel="epsilon", xlim=(-0.1, None))
    left.invert_yaxis()
    if frames.has("audit"):
        for name, curve in frames.arrays("audit").items():
            if name.startswith("roc: "):
                method, _, setting = name.removeprefix("roc: ").partition(", ")
                honest = not setting.endswith("=0.0")
                text = theme.label(method) + ("" if honest else ", no noise")
                style = theme.line(method, label=text, linestyle="-" if honest else "--")
                right.plot(np.linspace(0, 1, len(curve)), curve, **style)
        right.legend(fontsize=6.5, loc="lower right")
    right.plot([0, 1], [0, 1], color="#555555", linewidth=0.8)
    right.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    return figure


def audit_rows(frames) -> dict[str, pd.Series]:
    """Name of an audit -> its largest bound, its cap and the claimed epsilon; games first, then trained models, then the masks."""
    found = {}
    wanted = ["nominal_epsilon", "epsilon_lower_bound", "epsilon_cap"]
    for experiment, kind in (("game", "steps"), ("audit", "trained"), ("mechanism", "")):
        if not frames.has(experiment):
            continue
        table = frames.records(experiment)
        table = table[table["metric"].isin(wanted)]
        for method in dict.fromkeys(table["method"]):
            own = table[table["method"] == method]
            shares = list(dict.fromkeys(own["noise_share"])) if "noise_share" in own else [None]
            for share in shares:
                part = own if share is None else own[own["noise_share"] == share]
                noise = {None: "", 1.0: "", 0.0: ", no noise"}.get(
                    share, f", {share:.0%} of the noise" if share else ""
                )
                text = theme.label(method) + (f", {kind}" if kind else "") + noise
                found[text] = part.groupby("metric")["value"].max()
    return found


def kept_blocks(frames) -> Figure:
    """How often each block (a LoRA matrix) is kept by Dual-Priv, by tenth of the run, mean over seeds; epsilon = 1 and infinite. By
    chance every block would be kept in 0.79 of the steps. With B = 0 at the start an A block has no gradient, hence no signal.

    Alt: Share of steps in which each of the decoder's LoRA matrices is kept, over the ten tenths of a run.
    """
    arrays = {k: v for k, v in frames.arrays("accuracy").items() if k.startswith("kept: dual")}
    wanted = [k for k in ("kept: dual, epsilon=1", "kept: dual, epsilon=inf") if k in arrays] or list(arrays)[:1]
    figure, axes = theme.grid(1, len(wanted), width=7.2, height=3.8, sharey=True)
    pictures = []
    for ax, name in zip(axes[0], wanted, strict=True):
        pictures.append(ax.imshow(arrays[name].T, vmin=0, vmax=1, aspect="auto", cmap="viridis", origin="lower"))
        ax.grid(False)
        ax.set(xlabel="tenth of the run", title=name.removeprefix("kept: ").replace("dual, ", "").replace("=", " = "))
        ax.set_xticks(range(0, arrays[name].shape[0], 3), range(1, arrays[name].shape[0] + 1, 3))
    axes[0, 0].set_ylabel("block")
    if arrays[wanted[0]].shape[1] == len(block_names()):  # the paper scale's decoder has more layers
        axes[0, 0].set_yticks(range(len(block_names())), block_names(), fontsize=5.5)
    figure.colorbar(pictures[0], ax=axes, label="share of steps in which it is kept")
    return figure


def block_names() -> list[str]:
    """The study's 24 blocks in the order of the arrays: layer, matrix, side."""
    first = [f"0.{m}.{side}" for names in ("qkv", "o") for side in "AB" for m in names]
    first += [f"0.{m}.{side}" for m in ("f1", "f2") for side in "AB"]
    last_layer = [f"1.{m}.{side}" for names in ("q", "kv", "o") for side in "AB" for m in names]
    return first + last_layer + [f"1.{m}.{side}" for m in ("f1", "f2") for side in "AB"]


def tokens(frames) -> Figure:
    """Above: three public scenes; outlined, the patches that CLS attends to most. Below left: what the public bases answer with all
    tokens, pruned tokens and as many random ones, a point a base. Middle: share of the digit's patches among the kept ones. Right,
    where it was run: accuracy at epsilon = 1 against the number of kept patches, none fused, of Dual-Priv and of random patches.

    Alt: Three scenes with the patches that attention picks; public accuracy with all, pruned and random tokens, by base.
    """
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    above = figure.subplots(2, 3)
    arrays = frames.arrays("pretrain")
    base = frames.records("pretrain")
    for ax, patches, score in zip(above[0], arrays["shown patches"], arrays["shown attention"], strict=True):
        draw_scene(ax, patches, score, kept=8)
    left, middle, right = above[1]
    ways = ("full", "pruned", "random")
    tasks = list(base["task"].unique())
    for number, task in enumerate(tasks):
        rows = base[base["task"] == task]
        for place, way in enumerate(ways):
            values = rows.loc[rows["metric"] == f"public_accuracy_{way}", "value"].to_numpy()
            name = {"label": task} if place == 0 else {}
            at = place + 0.2 * (number - (len(tasks) - 1) / 2) + 0.05 * (np.arange(len(values)) - (len(values) - 1) / 2)
            left.plot(
                at, values, linestyle="none", marker="os"[number % 2], color=("#333333", "#999999")[number % 2], **name
            )
    left.set_xticks(range(3), ("all", "pruned", "random"))
    left.set(xlabel="visual tokens", ylabel="public accuracy", ylim=(0, 1), xlim=(-0.5, 2.5))
    left.legend(loc="lower left", fontsize=6)
    content = base[base["task"] == "content"]
    for place, way in enumerate(("cls", "random")):
        values = content.loc[content["metric"] == f"digit_recall_{way}", "value"].to_numpy()
        middle.plot(place + 0.06 * np.arange(len(values)), values, linestyle="none", marker="o", color="#333333")
    middle.set_xticks((0, 1), ("CLS", "random"))
    middle.set(xlabel="patches chosen by", ylabel="digit patches kept", ylim=(0, 1), xlim=(-0.5, 1.6))
    if frames.has("tokens"):
        rows = frames.records("tokens")
        rows = last(rows.loc[rows["metric"] == "accuracy", :])
        for method in ("dual", "random_tokens"):
            # All 36 patches are all of them, however they were chosen.
            own = rows.loc[(rows["method"] == method) | ((rows["dominant"] == 36) & (rows["method"] == "dual")), :]
            theme.band(right, own, x="dominant", method=method, marker=theme.marker(method))
        right.axhline(MAJORITY, color="#808080", linewidth=1, linestyle="--")
        right.set(xscale="log", xlabel="patches kept", ylabel="accuracy", ylim=(0, 1))
        right.set_xticks((2, 4, 8, 16, 36), ("2", "4", "8", "16", "36"))
        right.minorticks_off()
        right.legend(fontsize=6)
    else:
        theme.absent(right, frames.why("tokens"), width=22)
    return figure


def draw_scene(ax: Axes, patches: np.ndarray, score: np.ndarray, kept: int) -> None:
    """One scene with its most attended patches outlined. patches: (P, 16); score: (P,)."""
    side = math.isqrt(len(patches))
    canvas = patches.reshape(side, side, 4, 4).transpose(0, 2, 1, 3).reshape(4 * side, 4 * side)
    ax.imshow(canvas, cmap="gray_r", vmin=0, vmax=1.3)
    for place in np.argsort(-score, kind="stable")[:kept]:
        corner = (4 * (place % side) - 0.5, 4 * (place // side) - 0.5)
        ax.add_patch(Rectangle(corner, 4, 4, fill=False, edgecolor=theme.colour("dual"), linewidth=1.4))
    ax.set_axis_off()


def step_time(frames) -> Figure:
    """Time of one step, median and range of nine tenths of the repeats (stored measurements of one machine): the small model on a batch
    of 128, process time of one CPU thread; where a GPU was at hand, also the paper's size on it, a micro-batch of one.

    Alt: Milliseconds a step of each method.
    """
    large = frames.has("cost_7b")
    figure, axes = theme.grid(1, 2 if large else 1, width=7.2 if large else 4.6, height=2.6)
    _bars(axes[0, 0], frames.records("cost"), "step_cpu_seconds", "small model")
    if large:
        rows = frames.records("cost_7b")
        least = rows.loc[rows["micro_batch_size"] == rows["micro_batch_size"].min(), :]
        _bars(axes[0, 1], least, "step_wall_seconds", "the paper's size")
    return figure


def _bars(ax: Axes, rows: pd.DataFrame, metric: str, title: str) -> None:
    rows = rows.loc[rows["metric"] == metric, :]
    names = list(dict.fromkeys(rows["method"]))
    for place, method in enumerate(names):
        values = 1e3 * rows.loc[rows["method"] == method, "value"].to_numpy()
        middle = np.median(values)
        spread = [[middle - np.quantile(values, 0.05)], [np.quantile(values, 0.95) - middle]]
        ax.barh(place, middle, color=theme.colour(method), xerr=spread, error_kw={"elinewidth": 1})
    ax.set_yticks(range(len(names)), [theme.label(m) for m in names])
    ax.invert_yaxis()
    ax.set(xlabel="ms a step", title=title)


FIGURES = {
    "F1": accuracy,
    "F2": memory,
    "F3": ablation,
    "F4": audits,
    "F5": kept_blocks,
    "F6": tokens,
    "F7": step_time,
}
