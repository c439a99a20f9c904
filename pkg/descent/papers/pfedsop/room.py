"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.pfedsop.settings import SETTINGS

METRICS = {
    "accuracy": Metric("", "Share of all clients' test samples that their own models get right.", "higher", range=(0, 1)),
    "client_mean": Metric("", "Mean over clients of the accuracy on their own test samples.", "higher", range=(0, 1)),
    "client_low": Metric("", "10th percentile over clients of that accuracy.", "higher", range=(0, 1)),
    "aulc": Metric("", "Area under the learning curve: mean accuracy over the evaluated rounds, round 0 left out.", "higher", range=(0, 1)),
    "rounds_to_target": Metric("rounds", "First evaluated round whose accuracy is at least the target.", "lower", resolution=3),
    "samples": Metric("sample-gradients", "Exact count of sample-gradients so far, evaluation left out.", "lower"),
    "samples_each": Metric("sample-gradients", "Exact count a participation: the run's sample-gradients over R m.", "lower"),
    "sent": Metric("bytes", "Exact count of bytes of model-sized vectors so far, up and down; the common start is not sent.", "lower"),
    "angle": Metric("radians", "phi: angle between a participant's update and the global one, mean over participants."),
    "mix": Metric("", "beta: weight of the global update, mean over participants."),
    "update_norm": Metric("", "|D_i^p|: length of the personalised update, mean over participants.", log=True),
    "step_length": Metric("", "Length of the personalised step, mean over participants.", log=True),
    "drift": Metric("", "Way of the local run, from its start to its end, mean over participants.", log=True),
    "step_cpu_seconds": Metric("s", "Process CPU time of one training round, every seed in it.", "lower"),
    "step_wall_seconds": Metric("s", "Wall-clock time of one training round, every seed in it.", "lower"),
}  # fmt: skip

SOP = ("step_size", "rho", "sharpness")
METHODS = {
    "pfedsop": MethodCard(
        "pFedSOP", "headline",
        "The paper's method, its equations read in a public summary; a client keeps the model after the second-order step (anchor). "
        "lambda, rho, eta1 and what a first-time participant does are ours.",
        "summary", (*SOP, "state_rule", "predict", "cold_start", "order", "mix"),
        builder="second_order:pfedsop",
    ),
    "carry": MethodCard(
        "pFedSOP, carry", "headline",
        "The other reading of the equations: a client keeps the end of its local run.", "derived", SOP,
        builder="second_order:carry",
    ),
    "local": MethodCard("Local", "control", "Each client alone; nothing is sent.", "ours", builder="averaging:local"),
    "fedavg": MethodCard(
        "FedAvg", "reference", "One global model, averaged by sample counts.", "code", builder="averaging:fedavg"
    ),
    "fedavg_ft": MethodCard(
        "FedAvg-FT", "reference", "FedAvg; a client fine-tunes a copy for T steps before it predicts. The copies are thrown away.", "code",
        builder="averaging:fedavg_ft",
    ),
    "fedprox": MethodCard(
        "FedProx", "reference", "FedAvg whose local runs are pulled towards the global model.", "code", ("proximal",),
        builder="averaging:fedprox",
    ),
    "ditto": MethodCard(
        "Ditto", "reference", "A personal model pulled towards the one that FedAvg trains; two local runs.", "code", ("proximal",),
        builder="regularised:ditto",
    ),
    "fedrep": MethodCard(
        "FedRep", "reference", "A shared body and heads of one's own; two local runs.", "code", builder="split_model:fedrep"
    ),
    "pfedme": MethodCard(
        "pFedMe", "reference", "Personal models in the Moreau envelope of the loss; five steps a minibatch.", "code",
        ("attraction", "inner_steps", "inner_step_size"), builder="regularised:pfedme",
    ),
    "fedala": MethodCard(
        "FedALA", "reference", "Each client learns how much of the global head to take, coordinate by coordinate.", "code",
        ("head_step_size", "first_passes", "sample_share"), builder="adaptive:fedala",
    ),
    "after_step": MethodCard(
        "pFedSOP, before training", "control", "Predicts with the model after the step, before the local run: a diagnostic.", "ours", SOP,
        builder="second_order:after_step",
    ),
    "first_order": MethodCard(
        "First order, tuned", "control", "The same personalised update without the Fisher matrix, its step size tuned.", "ours", SOP,
        builder="second_order:first_order",
    ),
    "first_matched": MethodCard(
        "First order, matched", "control",
        "The same with step size eta1 / rho, which is the second-order step where updates are small.", "ours", SOP,
        builder="second_order:first_order",
    ),
    "own_only": MethodCard("beta = 0", "control", "The global update is never used.", "ours", SOP, builder="second_order:own_only"),
    "even": MethodCard("beta = 1/2", "control", "Own and global update in equal parts.", "ours", SOP, builder="second_order:even"),
    "shared_only": MethodCard("beta = 1", "control", "The client's own update is never used.", "ours", SOP, builder="second_order:shared_only"),
}  # fmt: skip

WORLD = (
    "data", "images", "partition", "clients", "participants", "least", "model", "hidden", "rounds", "every", "local_steps",
    "batch", "local_step_size", "target",
)  # fmt: skip
COMPARISON = "descent.papers.pfedsop.comparison"

ROOM = Room(
    settings=SETTINGS,
    metrics=METRICS,
    methods=METHODS,
    experiments={
        "comparison": ExperimentCard(COMPARISON, WORLD),
        "images": ExperimentCard(COMPARISON, WORLD),
        "hundred": ExperimentCard(COMPARISON, WORLD),
        "first_tuning": ExperimentCard(COMPARISON, WORLD),
        "first_choice": ExperimentCard(COMPARISON, WORLD),
        "ablation": ExperimentCard(COMPARISON, WORLD),
        "tuning": ExperimentCard(COMPARISON, WORLD),
        "choice": ExperimentCard(COMPARISON, WORLD),
        "tuned": ExperimentCard(COMPARISON, WORLD),
        "sharpness": ExperimentCard(COMPARISON, WORLD),
        "damping": ExperimentCard(COMPARISON, WORLD),
        "large_tuning": ExperimentCard(COMPARISON, WORLD),
        "large_choice": ExperimentCard(COMPARISON, WORLD),
        "round_cost": ExperimentCard("descent.papers.pfedsop.cost", WORLD),
    },
)
