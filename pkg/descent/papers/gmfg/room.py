"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.gmfg.settings import SETTINGS

METRICS = {
    "K_error": Metric("", "|K - K*| / |K*|: distance of the shared slope to the equilibrium's.", "lower", log=True),
    "G_error": Metric("", "|G - G*| / |G*|: distance of the intercepts to the equilibrium's.", "lower", log=True),
    "Z_error": Metric("", "|Z - Z*| / |Z*|: distance of the aggregates to the equilibrium's.", "lower", log=True),
    "Z_distance": Metric("", "|Z - Z*|, not relative.", "lower", log=True),
    "rho": Metric("", "The oracle of the outer rate: the spectral radius of one round of best response and update.", "lower"),
    "updates_needed": Metric("updates", "Population updates until Z's relative error is below the tolerance.", "lower", resolution=1),
    "gradient_steps_needed": Metric("steps", "Slope and intercept steps until then.", "lower", resolution=1),
    "slope_steps_needed": Metric("steps", "Slope steps until K's relative error is below the tolerance.", "lower", resolution=1),
    "intercept_steps_needed": Metric("steps", "Intercept steps until G's relative error is below the tolerance.", "lower", resolution=1),
    "K_norm": Metric("", "|K*|.", "none"),
    "G_norm": Metric("", "|G*|.", "none"),
    "Z_norm": Metric("", "|Z*|.", "none"),
    "cost": Metric("", "The players' mean cost at the equilibrium.", "none"),
}  # fmt: skip

INNER = ("slope_steps", "intercept_steps")
SIZES = ("slope_step_size", "intercept_step_size")

METHODS = {
    "pg": MethodCard(
        "PG-GMFG",
        "headline",
        "The paper's bilevel policy gradient: natural slope steps, intercept steps with Z frozen, a population update. The form of "
        "its gradients is derived from the authors' earlier work; counts and step sizes are ours.",
        "derived",
        (*INNER, *SIZES),
        builder="policy_gradient:pg",
    ),
    "vanilla": MethodCard(
        "B1 vanilla PG",
        "reference",
        "The slope without the covariance's inverse.",
        "ours",
        (*INNER, *SIZES),
        builder="policy_gradient:vanilla",
    ),
    "unscaled": MethodCard(
        "B2 unscaled PG",
        "reference",
        "Euclidean gradients of the discrete cost, step size tuned at N = 10.",
        "ours",
        (*INNER, "euclidean_step_size"),
        builder="policy_gradient:unscaled",
    ),
    "picard": MethodCard(
        "B3 exact best response",
        "baseline",
        "Best responses in closed form, then the population update.",
        "ours",
        builder="exact_response:picard",
    ),
    "single": MethodCard(
        "B4 single loop",
        "baseline",
        "A population update after every gradient step.",
        "ours",
        SIZES,
        builder="policy_gradient:single",
    ),
    "damped": MethodCard(
        "B5 damped Picard",
        "baseline",
        "Best responses, the aggregate moved half of the way: fictitious-play style.",
        "ours",
        ("damping",),
        builder="exact_response:damped",
    ),
    "naive": MethodCard(
        "B6 naive slope",
        "reference",
        "The slope's gradient with the players' mean part mixed in.",
        "ours",
        (*INNER, *SIZES),
        builder="naive_slope:naive",
    ),
    "sampled": MethodCard(
        "PG-GMFG, sampled",
        "headline",
        "The model-free version: two-point gradient estimates from simulated runs.",
        "ours",
        ("particles", "radius", "chunk", *INNER, *SIZES),
        builder="model_free:sampled",
    ),
    "oracle": MethodCard(
        "Equilibrium", "control", "The exact equilibrium and outer rate of the discrete game.", "derived"
    ),
}

GAME = ("graphon", "intervals", "players")
OUTER = (*GAME, "updates", "tolerance")
INSIDE = (*GAME, "noise", "start_variance", "slope_cap", "intercept_cap", "tolerance", "points")

ROOM = Room(
    metrics=METRICS,
    methods=METHODS,
    experiments={
        "equilibria": ExperimentCard("descent.papers.gmfg.equilibria", GAME),
        "graphons": ExperimentCard("descent.papers.gmfg.outer", OUTER),
        "rates": ExperimentCard("descent.papers.gmfg.outer", OUTER),
        "best_response": ExperimentCard("descent.papers.gmfg.inner", INSIDE),
        "frequency": ExperimentCard("descent.papers.gmfg.inner", INSIDE),
        "noise": ExperimentCard("descent.papers.gmfg.inner", INSIDE),
        "sampling": ExperimentCard("descent.papers.gmfg.estimates", (*GAME, "noise", "start_variance", "updates")),
        "coupling": ExperimentCard("descent.papers.gmfg.outer", (*OUTER, "coupling", "tracking", "peer_drift")),
        "baselines": ExperimentCard("descent.papers.gmfg.outer", OUTER),
    },
    settings=SETTINGS,
)
