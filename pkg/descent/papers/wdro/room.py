"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.wdro.settings import SETTINGS

METRICS = {
    "gradient_error": Metric("", "Largest |grad F^eps - grad F| over the fixed points of K.", "lower", log=True),
    "value_error": Metric("", "Largest |F^eps - F| over the same points.", "lower", log=True),
    "sampling_error": Metric("", "|g^{eps,m} - grad F^eps|: what sampling alone does.", "lower", log=True),
    "total_error": Metric("", "|g^{eps,m} - grad F|: sampling and regularisation together.", "lower", log=True),
    "distance": Metric("", "|theta - theta*|; several critical points: the farthest of F^eps from the nearest of F.", "lower", log=True),
    "lam_distance": Metric("", "|lam_eps - lam*| at the minimisers.", "lower", log=True),
    "lam_smoothed": Metric("", "lam_eps: the dual variable at the minimiser of F^eps.", "none"),
    "lam_optimum": Metric("", "lam*: the dual variable at the minimiser of F.", "none"),
    "plateau": Metric("", "F(theta_eps, lam_eps) - F*: where a constant epsilon must end.", "lower", log=True),
    "optimum": Metric("", "F*: the least worst-case risk.", "none"),
    "critical_points": Metric("points", "Different local minima found from the lattice of starts.", "none"),
    "flipped": Metric("points", "Data whose label the worst case flips at the optimum.", "none"),
    "tied": Metric("points", "Data at the kink: flipping gains less than 1e-4 either way.", "none"),
    "gap": Metric("", "F(theta_k, lam_k) - F*, exact and unregularised.", "lower", log=True),
    "mean_gap": Metric("", "The same at the step-weighted average of the iterates.", "lower", log=True),
    "lam": Metric("", "lam_k: the dual variable.", "none"),
    "risk_gap": Metric("", "The exact worst-case risk of theta, at its best lam, less F*.", "lower", log=True),
    "step_cpu_seconds": Metric("s", "CPU time of a measured call, all seeds of it side by side.", "lower", log=True),
    "step_wall_seconds": Metric("s", "Wall time of the same.", "lower", log=True),
}  # fmt: skip

COMPACT = ("lam_low", "lam_start", "lam_high", "weight_start")
PSGD = ("sampler", "batch", "samples_growth", "samples_max", "step_size", "lam_step_size", "ball", *COMPACT)

METHODS = {
    "psgd": MethodCard(
        "Projected SGD",
        "headline",
        "The paper's method: softmax-weighted gradients of the sampled dual, projected steps in theta and lam, epsilon constant or "
        "falling. Step sizes, samplers, schedules and the compact set are ours: only the abstracts could be read.",
        "paper",
        PSGD,
        builder="projected:psgd",
    ),
    "smoothed": MethodCard(
        "Exact F^eps",
        "control",
        "The regularised objective without sampling: closed form (squared loss) or quadrature, minimised by Newton steps.",
        "derived",
    ),
    "gradient": MethodCard(
        "Sampled gradient",
        "headline",
        "One softmax-weighted gradient g^{eps,m} on all the data, draws fresh for every seed.",
        "paper",
        ("sampler",),
        builder="sampling_error:whole_gradient",
    ),
    "saa": MethodCard(
        "SAA, L-BFGS",
        "baseline",
        "Draws fixed once from the reference measure, then L-BFGS on the sampled objective; one step is one evaluation.",
        "ours",
        COMPACT,
        builder="sample_average:saa",
    ),
    "library": MethodCard(
        "skwdro's AdamW",
        "baseline",
        "How skwdro 1.1.1 minimises it by default, rewritten: full batches, fresh draws from its importance sampler, AdamW after "
        "200 steps on the mean loss; its own sigma, eps, m and starting lam.",
        "code",
        ("adam_step_size",),
        builder="library_steps:library",
    ),
    "erm": MethodCard(
        "ERM", "reference", "Least squares: the ball has radius zero.", "derived", builder="regression:least_squares"
    ),
}

PROBLEM = ("problem", "rows", "radius", "deviation")
MIXED = ("kappa", "flip")
SCHEDULE = ("epsilon", "decay", "floor")
RUN = ("steps", "samples", "block", "points", "schedule", *SCHEDULE)

ROOM = Room(
    metrics=METRICS,
    methods=METHODS,
    experiments={
        "gradients": ExperimentCard("descent.papers.wdro.gradient_limit", (*PROBLEM, *MIXED, "epsilon", "compared")),
        "critical": ExperimentCard("descent.papers.wdro.critical", (*PROBLEM, *MIXED, "epsilon")),
        "sampling": ExperimentCard("descent.papers.wdro.sampling_error", (*PROBLEM, "epsilon", "samples")),
        "shifted": ExperimentCard("descent.papers.wdro.trajectories", (*PROBLEM, *RUN)),
        "plain": ExperimentCard("descent.papers.wdro.trajectories", (*PROBLEM, *RUN)),
        "mixed": ExperimentCard("descent.papers.wdro.trajectories", (*PROBLEM, *MIXED, *RUN)),
        "baselines": ExperimentCard(
            "descent.papers.wdro.baselines",
            (*PROBLEM, *SCHEDULE, "evaluations", "first_steps", "samples", "block", "points"),
        ),
        "cost": ExperimentCard(
            "descent.papers.wdro.cost", (*PROBLEM, *SCHEDULE, "evaluations", "first_steps", "samples", "block")
        ),
    },
    settings=SETTINGS,
)
