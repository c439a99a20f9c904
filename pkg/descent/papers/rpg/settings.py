"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

SETTINGS: dict[str, Setting] = {
    # Methods
    "step_size": Setting("Step size of the ascent.", float, 0.01, low=0, high=10, open_low=True),
    "ascent": Setting(
        "How a gradient becomes a step: adam (beta 0.9 and 0.999, as the official code) or constant (plain ascent).",
        str, "adam", choices=("adam", "constant"),
    ),
    "window": Setting(
        "The paper's omega: the number of most recent batches that are used, the fresh one included; any number from the count of "
        "updates on keeps the full history.",
        int, 8, low=1, high=100_000,
    ),
    "batch": Setting("The paper's N: fresh trajectories an update.", int, 10, low=1, high=100_000),
    "confidence": Setting(
        "The paper's delta, the confidence level inside the power-mean correction.",
        float, 0.2, low=0, high=1, open_low=True, open_high=True,
    ),
    "snapshot_batch": Setting("N_0: trajectories of a snapshot (or of STORM's first update).", int, 55, low=1, high=100_000),
    "mini_batch": Setting("B: trajectories of an update between snapshots.", int, 5, low=1, high=100_000),
    "epoch": Setting("m: every m-th update is a snapshot.", int, 10, low=1, high=100_000),
    "probability": Setting("p: the chance that an update is a snapshot; the first one always is.", float, 0.1, low=0, high=1),
    "decay": Setting("STORM's eta: the weight of the fresh gradient; 1 gives plain GPOMDP.", float, 0.9, low=0, high=1),
    "baseline": Setting(
        "What is subtracted from the rewards: zero (nothing) or avg (the batch's mean reward at the same time step).",
        str, "zero", choices=("zero", "avg"),
    ),
    # Problems
    "environment": Setting(
        "The problem: cartpole (continuous), lqr (with an exact gradient), or pendulum, swimmer and cheetah of Gymnasium MuJoCo.",
        str, "cartpole", choices=("cartpole", "lqr", "pendulum", "swimmer", "cheetah"),
    ),
    "horizon": Setting("T: the number of time steps after which an episode ends.", int, 200, low=1, high=100_000),
    "discount": Setting("gamma: what a reward loses a time step.", float, 1.0, low=0, high=1),
    "variance": Setting("sigma^2: the policy's fixed variance.", float, 0.3, low=0, high=100, open_low=True),
    "policy": Setting(
        "linear (the mean is theta s) or network (two tanh layers, no biases).", str, "linear", choices=("linear", "network")
    ),
    "hidden": Setting("Units of each hidden layer of a network policy.", int, 32, low=1, high=4096),
    # Experiments
    "budget": Setting("Trajectories that a run may collect; its last update may exceed it.", int, low=1, high=100_000_000),
    "block": Setting("Trajectories whose random numbers a seed draws at once; part of a run's definition.", int, 50, low=1, high=1000),
    "drift": Setting("Distance in parameter space between two neighbouring behaviour policies.", float, low=0, high=10),
    "replications": Setting("Independent estimates of the gradient a seed.", int, low=1, high=1_000_000),
}  # fmt: skip
