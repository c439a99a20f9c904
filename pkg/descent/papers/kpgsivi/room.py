"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from math import inf

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.kpgsivi.settings import SETTINGS

METRICS = {
    "sliced": Metric("", "Sliced Wasserstein-2 distance between equal samples of q and of the target.", "lower", log=True, range=(0, inf)),
    "floor": Metric("", "The same between two samples of the target: what a perfect q would show.", "lower", log=True, range=(0, inf)),
    "forward_divergence": Metric("nats", "KL(p || q), estimated.", "lower"),
    "reverse_divergence": Metric("nats", "KL(q || p), estimated.", "lower"),
    "left_share": Metric("", "Share of q's points with a negative first coordinate.", "none", range=(0, 1), resolution=1 / 4000),
    "weight_error": Metric("", "Distance of that share to the left mode's weight.", "lower", range=(0, 1), resolution=1 / 4000),
    "log_scale": Metric("", "Mean over coordinates of log sigma.", "none"),
    "bandwidth": Metric("", "The kernel's h at the step.", "none", log=True, range=(0, inf)),
    "share": Metric("", "KPG-IS: mean over points of a(z), the proposal's weight of the standard normal.", "none", range=(0, 1)),
    "effective": Metric("latents", "KPG-IS: mean over points of (sum w)^2 / sum w^2.", "none", range=(1, inf)),
    "overflow": Metric("", "KPG-IS: share of pairs with a latent of their own that found no slot and were thinned.", "lower", range=(0, 1)),
    "deviation_ratio": Metric("", "Mean over coordinates of q's standard deviation over the truth's.", "none", range=(0, inf)),
    "mean_error": Metric("", "Mean over coordinates of |difference of means| over the truth's deviation.", "lower", range=(0, inf)),
    "correlation_slope": Metric("", "Slope through the origin of q's pairwise correlations on the truth's; 1 is perfect.", "none"),
    "correlation_error": Metric("", "Root mean squared error of the pairwise correlations.", "lower", range=(0, 2)),
    "correlation_floor": Metric("", "The slope of an equal sample of the truth: how far noise alone moves it.", "none"),
    "log_likelihood": Metric("nats", "Mean over test rows of the log predictive probability (networks: density).", "higher"),
    "test_error": Metric("", "Root mean squared error on test rows of the mean prediction, in the labels' unit.", "lower", range=(0, inf)),
    "accuracy": Metric("", "Share of test rows that the posterior mean probability puts in the right class.", "higher", range=(0, 1), resolution=1 / 4600),
    "path_error": Metric("", "Root mean squared difference of q's mean path and the truth's.", "lower", range=(0, inf)),
    "mll": Metric("nats", "The authors' marginal score: log of q's marginal kernel densities, summed over coordinates and draws of the truth.", "higher"),
    "acceptance": Metric("", "Mean acceptance rate of the HMC chains.", "none", range=(0, 1)),
    "first_mean": Metric("", "Mean of the first coordinate under the truth.", "none"),
    "first_deviation": Metric("", "Its standard deviation.", "none", range=(0, inf)),
    "gradient_variance": Metric("", "Trace of the gradient's covariance over all parameters, at held parameters and bandwidth.", "lower", log=True, range=(0, inf)),
    "scale_over_bandwidth": Metric("", "Geometric mean of sigma over the bandwidth h.", "none", log=True, range=(0, inf)),
    "distance_squared": Metric("", "Squared distance of KPG's and amortised SVGD's mean gradients, free of noise; may come out below 0.", "lower"),
    "gradient_squared": Metric("", "Squared length of their common mean gradient, free of noise.", "none"),
    "cosine": Metric("", "Cosine of the two averaged gradients.", "higher", range=(-1, 1)),
    "signal_to_noise": Metric("", "Length of amortised SVGD's averaged gradient over its standard error.", "none", log=True, range=(0, inf)),
    "distance_over_noise": Metric("", "|difference of the averaged gradients|^2 over its expectation if the difference were pure noise; about 1 then.", "lower", range=(0, inf)),
    "work": Metric("flop", "Floating-point operations of a step's matrix products, a seed.", "lower", log=True, range=(0, inf)),
    "step_cpu_seconds": Metric("s", "CPU time of a step, all seeds side by side.", "lower", log=True, range=(0, inf)),
    "step_wall_seconds": Metric("s", "Wall time of a step.", "lower", log=True, range=(0, inf)),
}  # fmt: skip

DESCENT = ("batch", "step_size", "beta2", "decay", "decay_every", "warm_up")
PROPOSAL = ("share_low", "share_high", "proposal_width")

METHODS = {
    "kpgis": MethodCard(
        "KPG-IS", "headline", "The paper's full method: kernelised path gradient with auxiliary latents from a learned proposal, weighed by importance.",
        "code", (*DESCENT, "latents", *PROPOSAL, "slots", "later_slots"), builder="importance:kpgis",
    ),
    "kpg": MethodCard(
        "KPG", "headline", "The kernelised path gradient with auxiliary latents of the prior.", "code", (*DESCENT, "latents", "median_every"),
        builder="kernelised:kpg",
    ),
    "ksivi": MethodCard(
        "KSIVI", "baseline", "Minimises a kernel Stein discrepancy; differentiates the target's score, the kernel and its bandwidth.", "code",
        (*DESCENT, "latents", "kernel"), builder="stein:ksivi",
    ),
    "asvgd": MethodCard(
        "Amortised SVGD", "baseline", "KPG's loop with the kernel's gradient in the place of the conditional score.", "paper",
        (*DESCENT, "latents", "median_every"), builder="kernelised:asvgd",
    ),
    "sivi": MethodCard(
        "SIVI", "baseline", "Surrogate bound with K extra latents, everything differentiated.", "derived", (*DESCENT, "latents"),
        builder="bound:sivi",
    ),
    "bsivi": MethodCard(
        "BSIVI", "reference", "The plain path gradient: KPG without its kernel, the score of q from K fresh latents.", "code", (*DESCENT, "latents"),
        builder="posterior_score:bsivi",
    ),
    "sivism": MethodCard(
        "SIVI-SM", "reference", "Score matching against a trained critic.", "derived", (*DESCENT, "critic_width"), builder="critic:sivism",
    ),
    "uivi": MethodCard(
        "UIVI", "reference", "The plain path gradient, the score of q from an HMC chain over the latent.", "derived",
        (*DESCENT, "burn_in", "kept", "leapfrog", "leapfrog_step"), builder="posterior_score:uivi",
    ),
    "aisivi": MethodCard(
        "AISIVI", "reference", "The plain path gradient with latents from KPG-IS's proposal (the official code has a flow there).", "ours",
        (*DESCENT, "latents", *PROPOSAL), builder="posterior_score:aisivi",
    ),
    "asvgd_released": MethodCard(
        "Amortised SVGD, as released", "control", "The authors' scripts: repulsion without its kernel weight, summed over the wrong index. Judged nowhere.",
        "code", DESCENT, builder="kernelised:asvgd_released",
    ),
    "hmc": MethodCard("HMC", "control", "Long Hamiltonian Monte Carlo: the ground truth.", "ours"),
}  # fmt: skip

PROBLEM = ("target", "latent", "hidden", "log_variance", "floor")
PATH = ("path_steps", "observations")
MODES = ("left", "distance")
RUN = ("steps", "block", "points")
TOYS = (
    *PROBLEM,
    *RUN,
    "evaluated",
    "directions",
    "divergence_points",
    "components",
    "reverse_components",
    "kept_points",
)
POSTERIORS = (*PROBLEM, *PATH, *RUN, "evaluated", "directions", "density_points", "kept_points")
TRUTH = ("target", *PATH, "chains", "transitions", "truth_leapfrog", "truth_step", "spread", "centre", "snapshots")
VARIANCE = (*PROBLEM, *PATH, "steps", "block", "batch", "replicates", "pairs", "paired_at", "spacing", "median_points")
BLIND = (*PROBLEM, *MODES, *RUN, "evaluated", "from_start")
NEURAL = (
    "data", "latent", "hidden", "log_variance", "floor", *RUN, "evaluated", "width", "log_noise_precision", "log_prior_precision",
    "start_steps",
)  # fmt: skip
COST = (*PROBLEM, *PATH, "rows")
HERE = "descent.papers.kpgsivi"

ROOM = Room(
    settings=SETTINGS,
    metrics=METRICS,
    methods=METHODS,
    experiments={
        "toys": ExperimentCard(f"{HERE}.toys", TOYS),
        "plateau": ExperimentCard(f"{HERE}.toys", TOYS),
        "kernels": ExperimentCard(f"{HERE}.toys", TOYS),
        "released": ExperimentCard(f"{HERE}.toys", TOYS),
        "chains": ExperimentCard(f"{HERE}.toys", TOYS),
        "truth": ExperimentCard(f"{HERE}.truth", TRUTH),
        "logistic": ExperimentCard(f"{HERE}.posteriors", POSTERIORS),
        "diffusion": ExperimentCard(f"{HERE}.posteriors", POSTERIORS),
        "sizes_truth": ExperimentCard(f"{HERE}.truth", TRUTH),
        "sizes": ExperimentCard(f"{HERE}.posteriors", POSTERIORS),
        "variance": ExperimentCard(f"{HERE}.variance", VARIANCE),
        "variance_late": ExperimentCard(f"{HERE}.variance", VARIANCE),
        "pretrain": ExperimentCard(f"{HERE}.pretrain", BLIND),
        "blindness": ExperimentCard(f"{HERE}.blindness", BLIND),
        "cold": ExperimentCard(f"{HERE}.blindness", BLIND),
        "networks": ExperimentCard(f"{HERE}.neural", NEURAL),
        "work": ExperimentCard(f"{HERE}.cost", COST),
        "cost": ExperimentCard(f"{HERE}.cost", (*COST, "repeats")),
    },
)
