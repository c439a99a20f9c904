"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.ssi.settings import SETTINGS

METRICS = {
    "m": Metric("", "Semantic overlap <w, w*>/d of the student with the teacher's direction (its size in E7).", "higher", range=(-1, 1)),
    "e": Metric("", "Positional overlap <w, p>/sqrt d of the student with the positional encoding (its size in E7).", "none", range=(-1, 1)),
    "overlap": Metric("", "Size of the overlap: |m|, for the plain network ||(m_1..m_L)||/sqrt L.", "higher", log=True, range=(0, 1)),
    "time": Metric("steps", "First step at which the overlap reaches its level; censored where it does not.", "lower", log=True, resolution=1),
    "reached": Metric("", "1 where the level was reached, else 0.", "higher", range=(0, 1)),
    "m_final": Metric("", "Mean of |m| over the last records of a run.", "none", range=(0, 1)),
    "e_final": Metric("", "Mean of |e| over the last records of a run.", "none", range=(0, 1)),
    "positional": Metric("", "1 where a run ends with |e| > |m|, else 0.", "none", range=(0, 1)),
    "deviation": Metric("", "Root mean square distance of (m, e) to the population flow over the recorded times, a coordinate.", "lower", log=True),
    "deviation_noise": Metric("", "The same to the flow with V-term.", "lower", log=True),
    "omega_dynamics": Metric("", "omega at which R_ee = R_mm at the origin: where the steepest way out turns positional.", "none"),
    "omega_global": Metric("", "omega at which R(1, 0) = R(0, 1): where the positional corner becomes the lower one.", "none"),
    "curvature_m": Metric("", "R_mm at the origin over 1 - omega.", "none"),
    "curvature_e_0": Metric("", "R_ee at the origin at omega = 0.", "none"),
    "curvature_e_1": Metric("", "R_ee at the origin at omega = 1.", "none"),
    "step_cpu_seconds": Metric("s", "CPU time of the measured steps.", "lower"),
    "step_wall_seconds": Metric("s", "Wall time of the measured steps.", "lower"),
}  # fmt: skip

METHODS = {
    "sgd": MethodCard(
        "SGD, reduced", "headline",
        "The exact reduced simulator of SGD on one vector: the law of the d-dimensional chain in a few numbers a step.",
        "derived", ("dimension", "rate"), builder="single:kappa",
    ),
    "tied": MethodCard(
        "tied network", "headline", "sigma(L^-1/2 sum_l <w, x_l>): one vector for all tokens, as attention has.", "code",
        ("dimension", "rate", "rate_scaling"), builder="gain:kappa",
    ),
    "plain": MethodCard(
        "plain network", "baseline", "sigma(L^-1/2 sum_l <w_l, x_l>): a vector a token, rescaled as one.", "code",
        ("dimension", "rate", "rate_scaling"), builder="gain:kappa",
    ),
    "trace": MethodCard(
        "trace attention", "headline", "L^-1/2 tr softmax(s s^T): attention read out by its trace, on L tokens.", "code",
        ("dimension", "rate", "rate_scaling"), builder="gain:kappa",
    ),
    "attention_pe": MethodCard(
        "trace attention with PE", "headline", "Trace attention on two tokens with the opposite positional encoding.", "code",
        ("dimension", "rate"), builder="single:kappa",
    ),
    "attention": MethodCard(
        "trace attention without PE", "control", "Trace attention on two tokens that do not know their positions.", "code",
        ("dimension", "rate"), builder="single:kappa",
    ),
    "direct": MethodCard(
        "SGD, d-dimensional", "reference", "The chain in R^d, tokens and all, with slopes in closed form.", "code",
        ("dimension", "rate"), builder="direct:Direct",
    ),
    "autograd": MethodCard(
        "SGD, d-dimensional, autograd", "reference", "The chain in R^d with gradients by autograd, as the official code.", "code",
        ("dimension", "rate"), builder="direct:Direct",
    ),
    "flow": MethodCard("population flow", "reference", "Gradient flow of the population loss on the sphere.", "derived"),
    "flow_noise": MethodCard(
        "flow with V-term", "reference", "The flow with the pull -(lr/2) E|a|^2 (m, e) that fresh noise exerts.", "derived", ("rate",),
        builder="gradient_flow:flow",
    ),
    "escape": MethodCard(
        "escape time of the flow", "reference", "The time of the flow from its start to the level, an integral in closed form.",
        "derived", ("dimension", "rate"), builder="exponent:escape",
    ),
    "landscape": MethodCard("population loss", "reference", "The population loss R(e, m) by quadrature.", "derived"),
}  # fmt: skip

LOOP = ("steps", "block", "chunk", "noise")
GAIN = (*LOOP, "points", "length", "target", "activation", "start", "level", "level_unit")
PAIR = ("start_m", "start_e", "omega", "width", "loss")

ROOM = Room(
    metrics=METRICS,
    methods=METHODS,
    experiments={
        "law": ExperimentCard("descent.papers.ssi.law", (*LOOP, *PAIR, "at")),
        **{name: ExperimentCard("descent.papers.ssi.gain", GAIN) for name in
           ("gain", "single", "quadratic", "quadratic_sum", "quadratic_root", "curves", "collapse", "null", "square")},
        "exponent": ExperimentCard(
            "descent.papers.ssi.exponent", (*LOOP, "order", "rate_decay", "start", "level")
        ),
        **{name: ExperimentCard(
            "descent.papers.ssi.transition", (*LOOP, "omega", "width", "loss", "begin", "records", "tail")
        ) for name in ("transition", "transition_official", "yellow")},
        "trajectory": ExperimentCard(
            "descent.papers.ssi.trajectory", ("block", "chunk", "noise", *PAIR, "time", "records")
        ),
        "equations": ExperimentCard(
            "descent.papers.ssi.equations", ("start_m", "start_e", "omega", "width", "time", "records", "nodes")
        ),
        "encoding": ExperimentCard("descent.papers.ssi.encoding", (*LOOP, "start", "points")),
        "phase": ExperimentCard("descent.papers.ssi.phase", ("width", "nodes", "overlaps", "cells")),
        "cost": ExperimentCard("descent.papers.ssi.cost", ("omega", "width", "loss", "chains", "chunk", "repeats")),
    },
    settings=SETTINGS,
)  # fmt: skip
