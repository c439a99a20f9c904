"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

import math

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.zoflat.settings import SETTINGS

METRICS = {
    "train_loss": Metric("", "Loss f on the whole training set.", "lower", log=True, range=(0, math.inf)),
    "trace": Metric("", "Trace of the Hessian of the training loss, Tr H; smaller is flatter.", "lower", log=True),
    "train_accuracy": Metric("", "Share of training rows classified rightly.", "higher", range=(0, 1), resolution=1 / 9888),
    "test_loss": Metric("", "Loss on the test set.", "lower", log=True, range=(0, math.inf)),
    "test_accuracy": Metric("", "Share of test rows classified rightly.", "higher", range=(0, 1), resolution=1 / 39861),
    "trace_stderr": Metric("", "Standard error of Hutchinson's estimate of Tr H over its probes.", "none", log=True, range=(0, math.inf)),
    "trace_official": Metric("", "Tr H by FlatZero's one-sided difference of losses: 2 (mean f(x + δu) − f(x)) / δ².", "none"),
    "trace_official_stderr": Metric("", "Its standard error over directions.", "none", log=True, range=(0, math.inf)),
    "trace_symmetric": Metric("", "Tr H by the symmetric difference: mean (f(x + δu) + f(x − δu) − 2 f(x)) / δ².", "none"),
    "trace_symmetric_stderr": Metric("", "Its standard error over directions.", "none", log=True, range=(0, math.inf)),
    "tokens": Metric("tokens", "Mean number of tokens of a training text.", "none", range=(0, math.inf)),
    "parameters": Metric("", "Number of trainable parameters d.", "none", range=(1, math.inf), resolution=1),
}  # fmt: skip
"""Accuracies: the resolution is one row of the larger dataset; a5a's and the language model's steps are coarser."""

METHODS = {
    "zo": MethodCard(
        "ZO",
        "headline",
        "Two-point zeroth order with one Gaussian direction a step: the paper's Algorithm 1 (as MeZO for language models).",
        "paper",
        ("step_size", "smoothing"),
        builder="two_point:zo",
    ),
    "gd": MethodCard(
        "GD",
        "baseline",
        "Gradient descent on the whole training set.",
        "code",
        ("step_size",),
        builder="gradient_descent:gd",
    ),
    "dd": MethodCard(
        "DD (λ → 0)",
        "control",
        "ZO without smoothing: the exact directional derivative along the same random directions.",
        "code",
        ("step_size",),
        builder="two_point:dd",
    ),
    "sam": MethodCard(
        "SAM",
        "reference",
        "Sharpness-aware minimisation: an explicit search for flat minima.",
        "code",
        ("step_size", "radius"),
        builder="sharpness_aware:sam",
    ),
    "encode": MethodCard("Encoder", "reference", "Tokenises the texts and runs the frozen layers once.", "derived"),
}

COMMON = ("steps", "block", "points")
TEXT = ("encoder", "task", "shots", "tests", "tokens", "data_seed", "text_dir", "checkpoint_dir")
LANGUAGE = (
    "steps",
    "block",
    "measured",
    "encoder",
    "checkpoint_dir",
    "batch",
    "micro_batch",
    "clip_norm",
    "regenerate",
)
LANGUAGE += ("probes", "first_probes", "directions", "delta")
CONVEX = (*COMMON, "model", "data", "features", "rows", "path", "layout", "dense_until", "final_points")

ROOM = Room(
    metrics=METRICS,
    methods=METHODS,
    experiments={
        "toy": ExperimentCard("descent.papers.zoflat.toy", (*COMMON, "half_dimension", "reference_step", "tail")),
        "convex": ExperimentCard("descent.papers.zoflat.convex", CONVEX),
        "stable": ExperimentCard("descent.papers.zoflat.convex", CONVEX),
        "grid": ExperimentCard("descent.papers.zoflat.convex", (*CONVEX, "step_factor", "smoothing_factor")),
        "explicit": ExperimentCard("descent.papers.zoflat.convex", CONVEX),
        "encode": ExperimentCard("descent.papers.zoflat.encode", TEXT),
        "language": ExperimentCard("descent.papers.zoflat.language", LANGUAGE),
        "prompts": ExperimentCard("descent.papers.zoflat.encode", TEXT),
        "tasks": ExperimentCard("descent.papers.zoflat.language", (*LANGUAGE, "task")),
    },
    settings=SETTINGS,
)
