"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

RULES = ("bptt", "eprop", "tbptt", "fa", "rflo", "modprop")
ACTIVATIONS = ("retanh", "tanh", "relu")

RULE = Setting("The rule that assigns credit; in the study the method's name.", str, "eprop", choices=RULES)

SETTINGS: dict[str, Setting] = {
    # The network
    "units": Setting("N: units of the network.", int, 100, low=1, high=100_000),
    "alpha": Setting("dt / tau: how far a step moves towards what drives it.", float, 0.4, low=0, high=1, open_low=True),
    "activation": Setting("The paper's phi: max(tanh, 0), tanh or max(., 0).", str, "retanh", choices=ACTIVATIONS),
    "gain": Setting("g: the recurrent weights start at 1.5 g / sqrt(N) times standard normals.", float, 1.0, low=0, high=100),
    "dale": Setting("Dale's law: 80 % of the units only excite, the others only inhibit.", bool, False),
    "density": Setting("Share of recurrent synapses that exist.", float, 1.0, low=0, high=1, open_low=True),
    # Learning
    "lr": Setting("Adam's learning rate.", float, 5e-4, low=0, high=10, open_low=True),
    "penalty": Setting("r at the start: weight of the mean squared activity in the loss.", float, 10.0, low=0, high=1e6),
    "updates": Setting("Updates of a run.", int, 500, low=1, high=10_000_000),
    "every": Setting("Updates between two evaluations.", int, 10, low=1, high=1_000_000),
    "block": Setting("Updates whose batches are drawn at once; part of what a seed draws.", int, 50, low=1, high=100_000),
    "stack": Setting(
        "Seeds trained at once, to bound memory; 0: all. Part of the rounding, not of the random numbers.", int, 0, low=0
    ),
    # The reach task; times in samples of the recordings, 10 ms
    "batch": Setting("B: trials of an update; where stratified, a multiple of 8.", int, 32, low=1, high=1_000_000),
    "stratified": Setting(
        "Equal numbers of trials a direction, their delays spread evenly; otherwise drawn at random after the first 8.", bool, True
    ),
    "stride": Setting("Samples of 10 ms that one step of the network covers.", int, 4, low=1, high=40),
    "length": Setting("T of a training trial, in samples of 10 ms.", int, 144, low=1, high=100_000),
    "cue_delays": Setting("The cue starts at one of so many samples, from 0 on.", int, 20, low=1, high=10_000),
    "hold_delays": Setting("After the cue the hold lasts one of so many samples, from 0 on.", int, 60, low=1, high=10_000),
    "test_cue": Setting("Start of the cue in test trials, in samples.", int, 25, low=0, high=10_000),
    "test_hold": Setting("Length of the hold after the cue in test trials, in samples.", int, 45, low=0, high=10_000),
    "test_length": Setting("T of a test trial, in samples.", int, 168, low=1, high=100_000),
    "window_from": Setting("First sample of a test trial that is compared with the recordings.", int, 84, low=0, high=100_000),
    "data_from": Setting("First sample of the recordings that is compared, from -800 ms on.", int, 40, low=0, high=120),
    # Mante's task; periods in steps
    "fixation": Setting("Steps of fixation before the stimulus.", int, 8, low=1, high=10_000),
    "stimulus": Setting("Steps of the stimulus.", int, 17, low=1, high=10_000),
    "delay": Setting("Steps of the delay after the stimulus.", int, 7, low=0, high=10_000),
    "decision": Setting("Steps of the decision.", int, 7, low=1, high=10_000),
    "target_accuracy": Setting("Accuracy in the decision period that counts as solved.", float, 0.9, low=0, high=1),
    # What is measured
    "target_error": Setting(
        "theta: the normalised error at which networks are compared.", float, 0.15, low=0, high=1000, open_low=True
    ),
    "loose_error": Setting("A second, larger theta, which more runs reach.", float, 0.3, low=0, high=1000, open_low=True),
    "splits": Setting("Random halves of the units that the noise floor averages over.", int, 100, low=1, high=100_000),
    "recordings": Setting(
        "What networks are compared with, and whose movement they learn.", str, "hatsopoulos2007",
        choices=("hatsopoulos2007", "reach_generated"),
    ),
    "planted": Setting("The distance that is planted.", float, 0.0, low=0, high=1),
    "half": Setting("Units in each half.", int, 70, low=1, high=100_000),
    "components": Setting("Principal components of the activity that are kept for the comparison of dynamics.", int, 10, low=2, high=1000),
    # Comparison of dynamics
    "delays": Setting("Delays of the embedding.", int, 5, low=1, high=1000),
    "rank": Setting("Rank of the linear dynamics.", int, 10, low=1, high=1000),
    "alignment_steps": Setting("Steps of the search for the rotation that aligns two dynamics.", int, 200, low=1, high=100_000),
    # The scalar toy
    "steps": Setting("T: steps of the scalar network.", int, 5, low=2, high=10_000),
    "wanted": Setting("w*: the weight that solves the scalar task.", float, 0.8, low=-1, high=1),
    "start": Setting("The scalar network's weight at the start.", float, 0.5, low=-10, high=10),
}  # fmt: skip
