"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

GRAPHON_NAMES = ("constant", "minmax", "unifatt", "threshold", "cosine", "sbm", "powerlaw")
COUPLINGS = ("weak", "middle", "strong")

SETTINGS: dict[str, Setting] = {
    # The game
    "graphon": Setting("The graphon that couples the players.", str, "unifatt", choices=GRAPHON_NAMES),
    "intervals": Setting("N: equal steps in time, the policy constant on each.", int, 100, low=1, high=100_000),
    "players": Setting("M: players, at the midpoints of M equal parts of [0, 1].", int, 50, low=1, high=100_000),
    "noise": Setting("D: intensity of the Brownian motion.", float, 0.3, low=0, high=1000),
    "start_variance": Setting(
        "v0: variance of a player's initial state; empty: the noise squared.",
        float, 0.25, low=0, high=1e6, open_low=True, optional=True,
    ),
    "tracking": Setting("H = HT: how much of the aggregate a player tracks.", float, 0.8, low=-100, high=100),
    "peer_drift": Setting("Ab: how strongly the aggregate pulls a player's state.", float, 0.4, low=-100, high=100),
    "coupling": Setting("The strength of the coupling: a pair of `tracking` and `peer_drift`.", str, "weak", choices=COUPLINGS),
    # The method
    "updates": Setting("Outer iterations: population updates.", int, 25, low=1, high=100_000),
    "slope_steps": Setting("nK: slope steps before each population update.", int, 10, low=0, high=100_000),
    "intercept_steps": Setting("nG: intercept steps before each population update.", int, 10, low=0, high=100_000),
    "slope_step_size": Setting("etaK: step size of the slope.", float, 0.3, low=0, high=1000, open_low=True),
    "intercept_step_size": Setting("etaG: step size of the intercepts.", float, 0.3, low=0, high=1000, open_low=True),
    "euclidean_step_size": Setting(
        "Step size along Euclidean gradients, which are dt times the functional ones.", float, 3.0, low=0, high=1e6, open_low=True
    ),
    "damping": Setting("w: the fraction of the way that the damped aggregate moves.", float, 0.5, low=0, high=1, open_low=True),
    "radius": Setting("s: size of the perturbations of the zeroth-order estimate.", float, 0.1, low=0, high=100, open_low=True),
    "particles": Setting("n: simulated runs a player.", int, 64, low=1, high=10_000_000),
    "chunk": Setting(
        "Players simulated at once, to bound memory; 0: all. Part of the rounding, not of the random numbers.", int, 0, low=0
    ),
    # What is measured
    "slope_cap": Setting("Most slope steps that are waited for.", int, 3000, low=1, high=1_000_000),
    "intercept_cap": Setting("Most intercept steps that are waited for; 0: the intercept is left out.", int, 3000, low=0, high=1_000_000),
    "tolerance": Setting("Relative error that counts as arrived.", float, 1e-6, low=0, high=1, open_low=True),
    "points": Setting("Number of steps, evenly spaced in the logarithm, at which errors are kept; 0: none.", int, 0, low=0, high=10_000),
}  # fmt: skip

PUBLIC: dict[str, Setting] = {
    "players": Setting("M: players, at the midpoints of M equal parts of [0, 1].", int, low=1, high=100_000),
    "steps": Setting("Population updates at most.", int, low=1, high=1_000_000),
    "lr": Setting("Step size of slope and intercepts; empty: the method's own.", low=0, high=1e6, open_low=True, optional=True),
    "inner": Setting("Slope and intercept steps before each population update; empty: the method's own.", int, low=0, high=100_000, optional=True),
    "method": Setting(
        "pg, the paper's; its baselines; sampled, from simulated runs.", str, "pg",
        choices=("pg", "vanilla", "unscaled", "single", "picard", "damped", "naive", "sampled"),
    ),
    "particles": Setting("Simulated runs a player (sampled).", int, 64, low=1, high=10_000_000),
}  # fmt: skip
"""The limits of `solve`."""
