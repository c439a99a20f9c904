"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.eprop.settings import SETTINGS

METRICS = {
    "error": Metric("", "Normalised error on the test trials; 1 is a constant output at the target's mean.", "lower", log=True),
    "distance": Metric("", "Angular Procrustes distance of test activity to the recordings, 0 to 1.", "lower"),
    "unshifted_distance": Metric("", "The same with movement onset at the end of the hold, without the 320 ms reaction time.", "lower"),
    "cka_distance": Metric("", "1 less the centred kernel alignment with the recordings.", "lower"),
    "matched_distance": Metric("", "Procrustes distance where the error first reaches theta.", "lower"),
    "matched_unshifted_distance": Metric("", "The distance without a reaction time, where the error first reaches theta.", "lower"),
    "matched_cka_distance": Metric("", "1 less the alignment, where the error first reaches theta.", "lower"),
    "loose_distance": Metric("", "Procrustes distance where the error first reaches the larger theta.", "lower"),
    "updates_needed": Metric("updates", "Updates until the error is at or below theta, on the grid of evaluations.", "lower"),
    "normalised_distance": Metric(
        "", "(d2 - d1) / (1 - d1) where theta is reached: d2 of the model, d1 of the other half of the recorded units; mean over random halves.", "lower",
    ),
    "dimensions": Metric("", "Participation ratio of the activity where theta is reached."),
    "loss": Metric("", "Cross-entropy over all steps, before the penalty.", "lower", log=True),
    "decision_accuracy": Metric("", "Share of steps of the decision period whose likeliest class is the right one.", "higher"),
    "weight": Metric("", "The scalar toy's weight w."),
    "weight_gap": Metric("", "|w - w*| at the end of the scalar toy.", "lower", log=True),
    "dynamics_to_bptt": Metric("rad", "DSA angle to a network of another seed trained by BPTT, whose seed stands in `step`.", "lower"),
    "spectrum_to_bptt": Metric("", "Mean distance of matched eigenvalues of the same two linear dynamics.", "lower"),
    "dynamics_of_one_start": Metric("rad", "DSA angle between networks that e-prop and BPTT trained from the same start.", "lower"),
    "baseline": Metric("", "Procrustes distance of the condition average to the recordings.", "lower"),
    "noise_floor": Metric("", "Procrustes distance of two disjoint random halves of the recorded units.", "lower"),
    "step_cpu_seconds": Metric("s", "Process CPU time of one update of every seed.", "lower", log=True),
    "step_wall_seconds": Metric("s", "Wall time of the same.", "lower", log=True),
    "average_floor": Metric("", "Procrustes distance of the condition average of one half to the other half.", "lower"),
}  # fmt: skip

METHODS = {
    "bptt": MethodCard("BPTT", "baseline", "Backpropagation through time: the exact gradient.", "code", builder="training:learner"),
    "eprop": MethodCard(
        "e-prop", "headline", "The paper's rule: the rate that enters the recurrent weights counts as a constant, the leak does not.", "code", builder="training:learner"
    ),
    "tbptt": MethodCard("Truncated BPTT", "reference", "The path through recurrent weights is cut every ten steps.", "code", builder="training:learner"),
    "fa": MethodCard("Feedback alignment", "reference", "BPTT with a fixed random matrix in place of the readout's transpose.", "code", builder="training:learner"),
    "rflo": MethodCard("RFLO", "reference", "e-prop with a fixed random matrix in place of the readout's transpose (Murray 2019).", "derived", builder="training:learner"),
    "modprop": MethodCard(
        "ModProp", "reference", "The path through recurrent weights by averages over cell types (Liu et al. 2022); needs ReLU and Dale's law.", "code", builder="training:learner"
    ),
    "recordings": MethodCard("Recordings", "control", "The recordings against themselves.", "code"),
    "cell_bptt": MethodCard("BPTT, a cell and autograd", "reference", "How the official code computes BPTT; timed, not compared.", "code"),
    "cell_eprop": MethodCard("e-prop, a cell and autograd", "reference", "How the official code computes e-prop: the sender detached.", "code"),
}  # fmt: skip

NETWORK = ("units", "alpha", "activation", "gain", "dale", "density")
LEARNING = ("lr", "penalty", "updates", "every", "block")
COMPARED = ("recordings", "stride", "data_from")
REACH = (
    "batch", "stratified", "length", "cue_delays", "hold_delays", "test_cue", "test_hold", "test_length", "window_from", *COMPARED,
)  # fmt: skip
MEASURED = ("target_error", "loose_error", "splits", "half", "components")
TRAINED = ExperimentCard("descent.papers.eprop.reach", (*NETWORK, *LEARNING, "stack", *REACH, *MEASURED))
PERIODS = ("fixation", "stimulus", "delay", "decision", "target_accuracy")

ROOM = Room(
    settings=SETTINGS,
    metrics=METRICS,
    methods=METHODS,
    experiments={
        **{name: TRAINED for name in ("rules", "gains", "tanh", "dale", "others", "modprop", "rates", "generated")},
        "mante": ExperimentCard(
            "descent.papers.eprop.mante", ("units", "alpha", "activation", "gain", *LEARNING, *PERIODS)
        ),
        "toy": ExperimentCard(
            "descent.papers.eprop.toy", ("wanted", "start", "steps", "lr", "updates", "every", "block")
        ),
        "dynamics": ExperimentCard("descent.papers.eprop.dynamics", ("delays", "rank", "alignment_steps")),
        "references": ExperimentCard("descent.papers.eprop.references", (*COMPARED, "splits", "half", "components")),
        "cost": ExperimentCard(
            "descent.papers.eprop.cost",
            (
                "units",
                "alpha",
                "activation",
                "gain",
                "lr",
                "penalty",
                "batch",
                "stratified",
                "length",
                "cue_delays",
                "hold_delays",
                "recordings",
                "stride",
                "stack",
            ),
        ),
        "planted": ExperimentCard("descent.papers.eprop.planted", (*COMPARED, "planted")),
    },
)
