"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

LEAK = 0.2  # code: the leaky ReLU's slope below zero
ACTIVATION_NAMES = ("linear", "tanh", "leaky")
PRIORS = ("gauss", "uniform")
TASKS = ("sensing", "completion")
SAMPLERS = ("literal", "importance", "subset")

SETTINGS: dict[str, Setting] = {
    # The problem
    "task": Setting("What is measured: sensing (normal matrices of norm 1) or completion (entries).", str, "sensing", choices=TASKS),
    "rank": Setting("r: rank of the target.", int, 1, low=1, high=5),
    "measurements": Setting("n: measurements of the 25 entries.", int, 15, low=1, high=24),
    # The factorisation
    "activation": Setting("sigma between layers: linear, tanh or leaky (ReLU, slope 0.2 below zero).", str, "linear", choices=ACTIVATION_NAMES),
    "depth": Setting("d: factors of the product.", int, 2, low=2, high=64),
    "width": Setting("k: size of the hidden layers.", int, 5, low=1, high=4096),
    "prior": Setting("The law of the weights before scaling: gauss N(0, 1) or uniform U(-1, 1).", str, "gauss", choices=PRIORS),
    "normalised": Setting("Whether a guess is divided by its Frobenius norm (plus 1e-6), as in the runs over depth.", bool, False),
    # Guess & Check
    "tolerance": Setting("The training loss below which a guess is accepted: the paper's epsilon_train.", float, 0.02, low=0, high=100, open_low=True),
    "sampler": Setting("How the posterior is sampled: literal guesses, or importance or subset, which have the same law.", str, "literal", choices=SAMPLERS),
    "guesses": Setting("Guesses of a seed, literal sampler.", int, 1_000_000, low=1, high=10**13),
    "batch": Setting("Guesses (or importance draws) of a seed made at once; part of the definition of a run.", int, 2048, low=16, high=10**8),
    "fan_out": Setting("Last layers tried on each prefix of the other layers; the error is clustered by prefix.", int, 1, low=1, high=4096),
    "noise": Setting("Where guesses are drawn: on the host, or on the device from a counter (another stream of the same law).", str, "host", choices=("host", "device")),
    "draws": Setting("First layers a seed, importance sampler; each gives a weighted closed form.", int, 6000, low=16, high=10**9),
    "pilot": Setting("First layers that place the importance sampler's proposal, beside its draws.", int, 500, low=16, high=10**6),
    "chains": Setting("N: chains of a replicate, subset simulation.", int, 128, low=8, high=10**6),
    "replicates": Setting("R: independent runs of subset simulation a seed; their spread is the error.", int, 4, low=2, high=1000),
    "share": Setting("The share of chains that a level keeps.", float, 0.5, low=0.01, high=0.95),
    "sweeps": Setting("Elliptical slice sweeps at every level.", int, 4, low=1, high=10_000),
    "proposals": Setting("Angles that a chain tries in a sweep before it stays.", int, 5, low=1, high=100),
    "burn_in": Setting("Rounds of sweeps at the tolerance before records begin.", int, 2, low=0, high=10_000),
    "kept": Setting("Rounds of sweeps that are recorded.", int, 4, low=1, high=10_000),
    "thin": Setting("Sweeps from one record to the next; it divides the number of sweeps.", int, 4, low=1, high=10_000),
    "rounds": Setting("Most rounds of sweeps; a seed that has not all its records by then is undefined.", int, 60, low=1, high=100_000),
    "least": Setting("The effective size below which an estimate is undefined.", float, 200.0, low=0, high=1e9),
    # Gradient descent
    "step_size": Setting("lr: length of the normalised gradient steps.", float, 1.0e-4, low=0, high=100, open_low=True),
    "momentum": Setting("Share of the last direction that a heavy-ball step keeps.", float, 0.0, low=0, high=1, open_high=True),
    "start_scale": Setting("What the usual uniform initial weights are multiplied by.", float, 1.0e-3, low=0, high=100, open_low=True),
    "steps": Setting("Gradient steps.", int, 40_000, low=1, high=10**8),
    "points": Setting("Steps at which losses are kept, evenly spaced in the logarithm.", int, 24, low=2, high=10_000),
    # Measured cost
    "way": Setting("What is timed: official (the authors' way), plain (one candidate axis, batched products), or a sampler of ours.", str, "plain", choices=("official", "plain", *SAMPLERS)),
    "repeats": Setting("Repeats of a measurement.", int, 20, low=1, high=1000),
}  # fmt: skip
