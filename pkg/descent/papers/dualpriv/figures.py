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
GAME = ("noisy_mask", "clean_mask")  # in no other figure; the room has more methods than the palette has colours
CAUGHT = ("no_noise", "clean_mask")  # negative controls
PARTS = (
    ("accuracy", "dual"), ("accuracy", "dpsgd"), ("ablation", "m1"), ("ablation", "m2"), ("ablation", "random_blocks"),
    ("ablation", "random_tokens"), ("ablation", "no_fusion"), ("ablation", "low_rank"), ("ablation", "dpzo_m1"),
    ("accuracy", "dpzo"), ("ablation", "zero_shot"),
)  # fmt: skip


def last(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step."""
    return rows[rows["step"] == rows["step"].max()] if len(rows) else rows


def accuracy(frames) -> Figure:
    """Accuracy against epsilon; mean and 95 % interval over seeds (a bar from the least to the largest where there are fewer than
    five). Dashed: the best constant answer; dotted: DP-SGD without noise. Right: the same runs along their steps at epsilon = 1.

    Alt: DP-SGD and Dual-Priv reach 0.7 to 0.9 at every epsilon, DPZero stays near the constant answer.
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

    Alt: Dual-Priv lies below DP-SGD and above DPZero on the same tokens; with gradient checkpointing both ratios come near 1.
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
        xlim=(0.4, 1.25),
        xlabel="peak of Dual-Priv / peak of the rival",
        title="as ratios; the paper's size unless said",
    )
    theme.legend(figure, left)
    return figure


def ablation(frames) -> Figure:
    """Accuracy at epsilon = 1, a point a seed, their mean and its 95 % interval. Left: Dual-Priv, each mechanism alone, and the
    controls (grey), in which one part is left out or replaced by chance. Right: Dual-Priv and as many random blocks against the
    share of blocks kept; all of them is M1 alone; two seeds below 0.8.

    Alt: The differences between Dual-Priv, its parts and random blocks are about as large as those between seeds.
    """
    figure, axes = theme.grid(1, 2, width=8.4, height=3.2, width_ratios=(2.6, 1))
    left, right = axes[0]
    names = []
    for experiment, method in PARTS:
        values = at_one(frames, experiment, method)
        if values.empty:
            continue
        grey = {} if method in (*MAIN, "random_blocks") else {"color": "#666666"}
        theme.points(left, len(names), values, method, interval=True, **grey)
        names.append(theme.label(method))
    left.axhline(MAJORITY, color="#808080", linewidth=1, linestyle="--")
    left.set_xticks(range(len(names)), names, rotation=25, ha="right")
    left.set(ylabel="test accuracy", ylim=(-0.02, 1))
    if not frames.has("keep"):
        theme.absent(right, frames.why("keep"), width=22)
        return figure
    for number, (experiment, method) in enumerate((("accuracy", "dual"), ("ablation", "random_blocks"))):
        rows = frames.select("keep", "accuracy", method)
        shares = {share: last(part).groupby("seed")["value"].mean() for share, part in rows.groupby("keep")}
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
        rows = rows[rows["epsilon"] == ("1" if (rows["epsilon"] == "1").any() else rows["epsilon"].iloc[0])]
    return last(rows).groupby("seed")["value"].mean()


def audits(frames) -> Figure:
    """Left: audited lower bound of epsilon (95 %) against the epsilon that is claimed, a point a seed; above the diagonal a claim would be
    refuted, as it must be for the two negative controls (no noise; mask chosen before the noise). Filled: one step; hollow: trained
    models. Methods stand side by side. Right: ROC curves of loss-threshold membership inference on trained models, mean over seeds.

    Alt: All private runs lie below the diagonal, both negative controls above it; the ROC curves follow the chance line.
    """
    figure, axes = theme.grid(1, 2, height=3.2)
    left, right = axes[0]
    seen: dict[float, int] = {}  # claimed epsilon -> groups of points drawn there
    for experiment, face in (("mechanism", None), ("audit", "none")):
        if not frames.has(experiment):
            continue
        table = frames.records(experiment)
        table = last_of_each(table[table["metric"].isin(["nominal_epsilon", "epsilon_lower_bound"])])
        for method, rows in table.groupby("method", sort=False):
            keys = [c for c in ("epsilon", "noise", "seed") if c in rows]
            wide = rows.pivot_table(index=keys, columns="metric", values="value", dropna=False).dropna()
            colour = "#555555" if method in GAME else theme.colour(method)
            style = {"marker": theme.marker(method), "color": colour, "linestyle": "none", "alpha": 0.7}
            hollow = {} if face is None else {"markerfacecolor": face}
            label = theme.label(method) if face is None else f"{theme.label(method)}, trained"
            for place, points in wide.groupby("nominal_epsilon"):
                seen[place] = seen.get(place, 0) + 1
                beside = place + 0.16 * ((seen[place] + 1) // 2) * (-1) ** seen[place]
                left.plot(np.full(len(points), beside), points["epsilon_lower_bound"], label=label, **style, **hollow)
                if method in CAUGHT and face is None:
                    high = points["epsilon_lower_bound"].max()
                    left.annotate("must be caught", (beside, high), (6, 3), textcoords="offset points", fontsize=7)
    top = left.get_xlim()[1]
    left.plot([0, top], [0, top], color="#555555", linewidth=0.8)
    left.set(xlabel="claimed epsilon", ylabel="audited lower bound", xlim=(0, top), ylim=(-0.2, None))
    if frames.has("audit"):
        for name, curve in frames.arrays("audit").items():
            if name.startswith("roc: "):
                method, _, setting = name.removeprefix("roc: ").partition(", ")
                text = f"{theme.label(method)}, {setting.replace('=', ' = ')}"
                shade = theme.shades(method, 3)[0 if setting == "epsilon=1" else 1]
                style = theme.line(method, color=shade, label=f"ROC: {text}")
                right.plot(np.linspace(0, 1, len(curve)), curve, **style)
    right.plot([0, 1], [0, 1], color="#555555", linewidth=0.8)
    right.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    theme.legend(figure, axes)
    return figure


def last_of_each(table: pd.DataFrame) -> pd.DataFrame:
    """Rows at each method's and metric's last step."""
    return table[table["step"] == table.groupby(["method", "metric"])["step"].transform("max")]


def kept_blocks(frames) -> Figure:
    """How often each block (a LoRA matrix) is kept by Dual-Priv, by tenth of the run, mean over seeds; epsilon = 1 and infinite. Under
    noise the choice is close to chance (0.79 everywhere). With B = 0 at the start an A block has no gradient, hence no signal.

    Alt: At epsilon = 1 the shares are between about 0.6 and 1 without a strong pattern; without noise the blocks differ clearly.
    """
    arrays = {k: v for k, v in frames.arrays("accuracy").items() if k.startswith("kept: dual")}
    wanted = [k for k in ("kept: dual, epsilon=1", "kept: dual, epsilon=inf") if k in arrays] or list(arrays)[:1]
    figure, axes = theme.grid(1, len(wanted), width=7.2, height=3.8, sharey=True)
    picture = None
    for ax, name in zip(axes[0], wanted, strict=True):
        picture = ax.imshow(arrays[name].T, vmin=0, vmax=1, aspect="auto", cmap="viridis", origin="lower")
        ax.grid(False)
        ax.set(xlabel="tenth of the run", title=name.removeprefix("kept: ").replace("dual, ", "").replace("=", " = "))
        ax.set_xticks(range(0, arrays[name].shape[0], 3), range(1, arrays[name].shape[0] + 1, 3))
    axes[0, 0].set_ylabel("block")
    if arrays[wanted[0]].shape[1] == len(block_names()):  # the paper scale's decoder has more layers
        axes[0, 0].set_yticks(range(len(block_names())), block_names(), fontsize=5.5)
    figure.colorbar(picture, ax=axes, label="share of steps in which it is kept")
    return figure


def block_names() -> list[str]:
    """The study's 24 blocks in the order of the arrays: layer, matrix, side."""
    first = [f"0.{m}.{side}" for names in ("qkv", "o") for side in "AB" for m in names]
    first += [f"0.{m}.{side}" for m in ("f1", "f2") for side in "AB"]
    last_layer = [f"1.{m}.{side}" for names in ("q", "kv", "o") for side in "AB" for m in names]
    return first + last_layer + [f"1.{m}.{side}" for m in ("f1", "f2") for side in "AB"]


def tokens(frames) -> Figure:
    """Above: three public scenes; outlined, the patches that CLS attends to most. Below left: what the public base answers with all
    tokens, pruned tokens and as many random ones, for the study's questions and the stress case. Below right: accuracy at epsilon = 1
    against the number of kept patches, none fused, of Dual-Priv and of as many random patches; mean and range of two seeds.

    Alt: The outlined patches lie on and around the digit; pruning costs nothing on content questions and much on row questions.
    """
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    above = figure.subplots(2, 3)
    arrays = frames.arrays("pretrain")
    base = frames.records("pretrain")
    for ax, patches, score in zip(above[0], arrays["shown patches"], arrays["shown attention"], strict=True):
        draw_scene(ax, patches, score, kept=8)
    left, middle, right = above[1]
    ways = ("full", "pruned", "random")
    for number, task in enumerate(base["task"].unique()):
        rows = base[base["task"] == task].set_index("metric")["value"]
        values = [rows[f"public_accuracy_{way}"] for way in ways]
        left.bar(np.arange(3) + 0.36 * number - 0.18, values, 0.34, label=task, color=("#555555", "#AAAAAA")[number])
    left.set_xticks(range(3), ("all", "pruned", "random"))
    left.set(ylabel="public accuracy", ylim=(0, 1))
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    recall = base[base["task"] == "content"].set_index("metric")["value"]
    middle.bar((0, 1), (recall["digit_recall_cls"], recall["digit_recall_random"]), color=("#555555", "#AAAAAA"))
    middle.set_xticks((0, 1), ("CLS", "random"))
    middle.set(ylabel="digit patches kept", ylim=(0, 1))
    if frames.has("tokens"):
        rows = frames.records("tokens")
        rows = last(rows[rows["metric"] == "accuracy"])
        for method in ("dual", "random_tokens"):
            # All 36 patches are all of them, however they were chosen.
            own = rows[(rows["method"] == method) | ((rows["dominant"] == 36) & (rows["method"] == "dual"))]
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
    """Time of one step, median and range of nine tenths of the repeats (stored measurements of one machine). Left: the small model on a
    batch of 128, process time of one CPU thread. Right: the paper's size on a GPU, a micro-batch of one.

    Alt: Steps on pruned tokens take less than half the time of steps on all tokens.
    """
    figure, axes = theme.grid(1, 2, height=2.6)
    left, right = axes[0]
    _bars(left, frames.records("cost"), "step_cpu_seconds", "small model")
    if frames.has("cost_7b"):
        rows = frames.records("cost_7b")
        _bars(
            right,
            rows[rows["micro_batch_size"] == rows["micro_batch_size"].min()],
            "step_wall_seconds",
            "the paper's size",
        )
    else:
        theme.absent(right, frames.why("cost_7b"), width=30)
    return figure


def _bars(ax: Axes, rows: pd.DataFrame, metric: str, title: str) -> None:
    rows = rows[rows["metric"] == metric]
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
