"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

METHODS = {
    "batch": Setting("B: points at which a step takes the gradient.", int, low=2, high=1_000_000),
    "latents": Setting(
        "K: auxiliary latents of a step; empty: as many as points.", int, None, low=1, high=1_000_000, optional=True
    ),
    "step_size": Setting("Adam's step size.", float, 1e-3, low=0, high=10, open_low=True),
    "beta2": Setting("Adam's second beta (the first is .9).", float, 0.999, low=0, high=1, open_high=True),
    "decay": Setting("What the step size is multiplied by every `decay_every` steps.", float, 1.0, low=0, high=1, open_low=True),
    "decay_every": Setting("Steps between two decays of the step size; 0: none.", int, 0, low=0, high=100_000_000),
    "warm_up": Setting(
        "Steps over which the target's score is heated by c = min(1, .1 + t / warm_up); 0: not heated.", int, 0, low=0, high=100_000_000
    ),
    "share_low": Setting(
        "a_inf: least weight of the standard normal in KPG-IS's proposal; weights are bounded by 1 / a_inf.",
        float, 0.01, low=0, high=1, open_low=True,
    ),
    "share_high": Setting("a_sup: largest weight of the standard normal in the proposal.", float, 0.9, low=0, high=1, open_low=True),
    "proposal_width": Setting("Width of the proposal's hidden layers.", int, 50, low=1, high=10_000),
    "slots": Setting(
        "Share of all pairs that has room for a latent of its own; pairs beyond it are thinned at random and weighted up.",
        float, 1.0, low=0, high=1, open_low=True,
    ),
    "later_slots": Setting(
        "The same from the second block of steps on; empty: as `slots`.", float, None, low=0, high=1, open_low=True, optional=True
    ),
    "median_every": Setting(
        "Of how many distances one enters the bandwidth's median; 1: all, which is the method. More is faster and changes it: for exploring, set by no experiment.",
        int, 1, low=1, high=1_000_000,
    ),
    "kernel": Setting(
        "KSIVI's kernel: gaussian, exp(-r^2 / (2 h^2)), or imq, (1 + r^2 / h)^(-1/2).", str, "gaussian", choices=("gaussian", "imq")
    ),
    "burn_in": Setting("UIVI's HMC transitions that are thrown away.", int, 5, low=0, high=10_000),
    "kept": Setting("UIVI's HMC transitions that are averaged.", int, 5, low=1, high=10_000),
    "leapfrog": Setting("Leapfrog steps of a transition.", int, 5, low=1, high=10_000),
    "leapfrog_step": Setting("Size of a leapfrog step.", float, 0.1, low=0, high=10, open_low=True),
    "critic_width": Setting("Width of the critic's hidden layers (SIVI-SM).", int, 50, low=1, high=10_000),
}  # fmt: skip

PROBLEMS = {
    "target": Setting(
        "The density that is approximated.", str,
        choices=("banana", "multimodal", "x_shaped", "logistic", "diffusion", "two_modes"),
    ),
    "latent": Setting("m: dimension of the latent eps.", int, 3, low=1, high=100_000),
    "hidden": Setting("H: width of the two hidden layers of mu.", int, 50, low=1, high=100_000),
    "log_variance": Setting("Initial log sigma^2 of the conditional noise.", float, 0.0, low=-100, high=100),
    "floor": Setting("Least log sigma^2.", float, -20.0, low=-200, high=100),
    "left": Setting("Weight of the left mode of `two_modes`.", float, 0.8, low=0, high=1, open_low=True, open_high=True),
    "distance": Setting("a: the modes of `two_modes` lie at -a and a.", float, 2.0, low=0, high=1000),
    "path_steps": Setting("Euler steps of the diffusion, .01 apart.", int, 100, low=1, high=100_000),
    "observations": Setting(
        "Observations of its path, evenly spaced; 20 of 100 are the official ones, others are drawn.", int, 20, low=1, high=100_000
    ),
}  # fmt: skip

RUNS = {
    "steps": Setting("Number of steps.", int, low=1, high=100_000_000),
    "block": Setting("Steps whose random numbers are drawn and handed over at once; part of a run's definition.", int, 50, low=1, high=100_000),
    "points": Setting("Evenly spaced steps at which curves are taken.", int, 10, low=1, high=10_000),
    "evaluated": Setting("Points of the samples that are compared with the target's.", int, 4000, low=10, high=10_000_000),
    "directions": Setting("Random directions of the sliced distance.", int, 200, low=1, high=100_000),
    "divergence_points": Setting("Points of the estimated Kullback-Leibler divergences.", int, 500, low=10, high=10_000_000),
    "components": Setting("Latents whose mixture stands for q in the forward divergence.", int, 40_000, low=10, high=100_000_000),
    "reverse_components": Setting("The same in the reverse divergence.", int, 4000, low=10, high=100_000_000),
    "density_points": Setting("Points of the kernel density estimate behind `mll`.", int, 6000, low=10, high=10_000_000),
    "kept_points": Setting("Points of the first seed's final sample that are kept for the figures.", int, 1000, low=1, high=1_000_000),
    "from_start": Setting("Start from the network's default start instead of the pre-trained one.", bool, False),
    "rows": Setting("Seeds that a timed step runs side by side.", int, 8, low=1, high=10_000),
    "repeats": Setting("Interleaved blocks of a time measurement.", int, 200, low=1, high=1_000_000),
}  # fmt: skip

TRUTH = {
    "chains": Setting("HMC chains side by side.", int, 2000, low=4, high=1_000_000),
    "transitions": Setting("HMC transitions of a chain.", int, 150, low=1, high=1_000_000),
    "truth_leapfrog": Setting("Leapfrog steps of a transition.", int, 15, low=1, high=10_000),
    "truth_step": Setting("Size of a leapfrog step.", float, 0.06, low=0, high=10, open_low=True),
    "spread": Setting("Standard deviation of the chains' starts.", float, 0.0, low=0, high=100),
    "centre": Setting("Where the chains start, in every coordinate.", float, 0.0, low=-1000, high=1000),
    "snapshots": Setting("States of a chain that are kept, evenly spaced over the second half.", int, 4, low=1, high=10_000),
}  # fmt: skip

VARIANCE = {
    "replicates": Setting("Gradients of each estimator at a checkpoint, whose spread is measured.", int, 60, low=2, high=1_000_000),
    "pairs": Setting("Paired repeats at the checkpoint `paired_at`.", int, 240, low=2, high=1_000_000),
    "paired_at": Setting("The step at which the two estimators' means are compared; 0: not at all.", int, 0, low=0, high=100_000_000),
    "spacing": Setting("Steps between checkpoints, which begin at step 1 and then at this one.", int, 300, low=1, high=100_000_000),
    "median_points": Setting("Points a side of the fresh sample that sets the bandwidth.", int, 500, low=2, high=100_000),
}  # fmt: skip

NEURAL = {
    "data": Setting("The regression whose network's weights are the target.", str, choices=("boston", "concrete")),
    "width": Setting("Hidden units of that network.", int, 50, low=1, high=10_000),
    "log_noise_precision": Setting("Log precision of the labels' noise, in their own unit.", float, -2.555990767, low=-50, high=50),
    "log_prior_precision": Setting("Log precision of the weights' prior.", float, -1.003869799, low=-50, high=50),
    "start_steps": Setting("Adam steps (.01) on squared errors that fit the start of all methods.", int, 100, low=1, high=1_000_000),
}  # fmt: skip

SETTINGS: dict[str, Setting] = {**METHODS, **PROBLEMS, **RUNS, **TRUTH, **VARIANCE, **NEURAL}
