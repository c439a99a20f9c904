"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.rpg.settings import SETTINGS

METRICS = {
    "auc": Metric("", "Mean return of all trajectories of the run; only where all methods have the same budget.", "higher"),
    "final_return": Metric("", "Mean return of the last tenth of the trajectories.", "higher"),
    "mean_return": Metric(
        "", "Mean return of the update's fresh trajectories; the step counts the trajectories collected.", "higher", final="none",
    ),
    "fresh": Metric("trajectories", "Fresh trajectories of the update.", range=(1, float("inf")), resolution=1, final="none"),
    "regret": Metric("", "Exact J* - J of the policy after the update (LQR).", "lower", log=True, range=(0, float("inf"))),
    "mean_squared_error": Metric(
        "", "Mean of the squared error over the seed's replications.", "lower", log=True, range=(0, float("inf"))
    ),
    "squared_error": Metric(
        "", "Squared distance of the estimated gradient to the exact one; the step counts replications.", "lower", log=True,
        range=(0, float("inf")), final="none",
    ),
    "largest_weight": Metric(
        "", "The largest weight W among the seed's replications.", log=True, range=(0, float("inf"))
    ),
    "weight_sum": Metric(
        "", "Mean over replications of the window's weights, summed and divided by N; 1 when they are normalised.",
        range=(0, float("inf")),
    ),
    "bound_excess": Metric("", "Largest log W minus its bound log(a_i / lambda_i); never above 0, by construction.", "lower"),
}  # fmt: skip

STEP = ("step_size", "ascent")
SNAPSHOTS = ("snapshot_batch", "mini_batch", "baseline", *STEP)

METHODS = {
    "rpg": MethodCard(
        "RPG", "headline", "The paper's method: all trajectories of the window, weighted by the power-mean correction.", "code",
        ("window", "batch", "confidence", *STEP), builder="reuse:rpg",
    ),
    "gpomdp": MethodCard(
        "GPOMDP", "baseline", "The plain policy gradient: the fresh batch alone, RPG with a window of 1.", "code",
        ("batch", "baseline", *STEP), builder="on_policy:gpomdp",
    ),
    "mis": MethodCard(
        "MIS", "control", "RPG without its correction: multiple importance weights rho / K.", "code", ("window", "batch", *STEP), builder="reuse:mis",
    ),
    "bh": MethodCard(
        "BH", "baseline", "RPG's loop with the balance heuristic: p_theta over the sum of all policies of the window.", "code",
        ("window", "batch", *STEP), builder="reuse:bh",
    ),
    "svrpg": MethodCard(
        "SVRPG", "baseline", "Variance reduction around a snapshot at every m-th update.", "code", ("epoch", *SNAPSHOTS), builder="variance_reduced:svrpg",
    ),
    "srvrpg": MethodCard(
        "SRVRPG", "baseline", "The same schedule, corrected from update to update.", "code", ("epoch", *SNAPSHOTS), builder="variance_reduced:srvrpg",
    ),
    "storm": MethodCard(
        "STORM-PG", "baseline", "A running mean of corrected gradients, without snapshots.", "code", ("decay", *SNAPSHOTS), builder="variance_reduced:storm",
    ),
    "page": MethodCard(
        "PAGE-PG", "baseline", "SRVRPG's correction, snapshots by the toss of a coin.", "code", ("probability", *SNAPSHOTS), builder="variance_reduced:page",
    ),
    "def": MethodCard(
        "DEF-PG", "baseline", "PAGE's schedule with defensive weights against an even mixture of two policies, step by step; the form is derived.",
        "derived", ("probability", *SNAPSHOTS), builder="variance_reduced:defensive",
    ),
}  # fmt: skip

PROBLEM = ("environment", "horizon", "discount", "variance", "policy", "hidden", "budget", "block")
ERROR = ("horizon", "discount", "variance", "drift", "replications")
CONTROL = "descent.papers.rpg.control"

ROOM = Room(
    settings=SETTINGS,
    metrics=METRICS,
    methods=METHODS,
    experiments={
        "window": ExperimentCard(CONTROL, PROBLEM),
        "base": ExperimentCard(CONTROL, PROBLEM),
        "equal": ExperimentCard(CONTROL, PROBLEM),
        "lqr_error": ExperimentCard("descent.papers.rpg.lqr_error", ERROR),
        "lqr_train": ExperimentCard(CONTROL, PROBLEM),
        "pendulum": ExperimentCard(CONTROL, PROBLEM),
        "pendulum_equal": ExperimentCard(CONTROL, PROBLEM),
        "swimmer": ExperimentCard(CONTROL, PROBLEM),
        "cheetah": ExperimentCard(CONTROL, PROBLEM),
    },
)
