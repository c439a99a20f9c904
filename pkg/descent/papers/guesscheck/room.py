"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.guesscheck.settings import SETTINGS

METRICS = {
    "error": Metric("", "Test loss L_gen: mean squared residual over the directions that no measurement sees. Guess & Check: its mean over accepted guesses.", "lower", log=True),
    "standard_error": Metric("", "Standard error of that mean within the seed: by guess, by weighted draw, or between independent runs of subset simulation.", "lower", log=True),
    "accepted": Metric("guesses", "Accepted guesses; weighted draws inside the accepted ball; recorded states of chains.", "higher", log=True),
    "guesses": Metric("guesses", "Guesses made: candidates whose training loss was computed, or weighted draws.", "none", log=True),
    "effective_size": Metric("guesses", "Independent accepted guesses that would know the mean as well. For subset simulation an estimate with R - 1 degrees of freedom.", "higher", log=True),
    "log10_acceptance": Metric("", "log10 of the probability that a guess is accepted.", "none"),
    "top_share": Metric("", "Mean over accepted products of the largest singular value over the Frobenius norm: 1 for rank one.", "none"),
    "training_loss": Metric("", "L_train: mean squared residual of the measurements.", "lower", log=True),
    "step_cpu_seconds": Metric("s", "CPU time of the measured work.", "lower"),
    "step_wall_seconds": Metric("s", "Wall time of the measured work.", "lower"),
    "guesses_a_call": Metric("guesses", "Guesses of one measured call.", "none"),
}  # fmt: skip

GUESSING = ("guesses", "batch", "noise")
SAMPLING = (
    "sampler", "tolerance", *GUESSING, "fan_out", "draws", "pilot", "chains", "replicates", "share", "sweeps", "proposals",
    "burn_in", "kept", "thin", "rounds", "least",
)  # fmt: skip
DESCENT = ("step_size", "start_scale", "steps", "points")

METHODS = {
    "guess_check": MethodCard(
        "Guess & Check",
        "headline",
        "Weights drawn from the prior until they fit, and the mean test loss of those that do. Samplers other than literal "
        "guesses are ours and have the same law.",
        "paper",
        SAMPLING,
        builder="sampled:guess_check",
    ),
    "gd": MethodCard(
        "gradient descent",
        "baseline",
        "Full-batch descent from a small start with the official code's normalised steps.",
        "code",
        DESCENT,
        builder="sweep:gd",
    ),
    "gd_momentum": MethodCard(
        "gradient descent, momentum",
        "baseline",
        "Heavy ball on the gradients, our reading of the text: the official code builds the buffer and does not use it.",
        "ours",
        (*DESCENT, "momentum"),
        builder="sweep:gd_momentum",
    ),
    "prior": MethodCard(
        "prior", "reference", "Guesses that nothing selects: what a candidate is worth before it is checked.", "code", GUESSING,
        builder="sampled:prior",
    ),
}  # fmt: skip

PROBLEM = ("task", "rank", "measurements", "activation", "depth", "width", "prior", "normalised")
SWEEPS = (
    "width", "width_momentum", "width_rank2", "width_uniform", "width_completion",
    "depth", "depth_momentum", "depth_rank2", "depth_uniform", "depth_completion", "depth_unnormalised",
    "law_wide", "law_deep", "drift",
)  # fmt: skip

ROOM = Room(
    metrics=METRICS,
    methods=METHODS,
    experiments={
        **{name: ExperimentCard("descent.papers.guesscheck.sweep", PROBLEM) for name in SWEEPS},
        "cost": ExperimentCard("descent.papers.guesscheck.cost", (*PROBLEM, "way", "repeats")),
    },
    settings=SETTINGS,
)
