"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

PROBLEMS = ("diabetes", "diabetes2", "cancer", "cancer_mixed", "wells")
SAMPLERS = ("plain", "shifted", "library")

SETTINGS: dict[str, Setting] = {
    # The problem
    "problem": Setting(
        "diabetes: least squares, ten features; diabetes2: two of them; cancer: logistic, labels fixed; cancer_mixed: labels "
        "may flip; wells: a non-convex loss in the plane.", str, "diabetes", choices=PROBLEMS,
    ),
    "rows": Setting("Data kept, evenly spaced in the table; 0: all.", int, 0, low=0, high=1_000_000),
    "radius": Setting("delta: the ball holds all laws at squared transport cost at most delta^2.", float, 0.1, low=0, high=100),
    "deviation": Setting("sigma: standard deviation of the reference measure around a datum.", float, 0.3, low=0, high=100, open_low=True),
    "kappa": Setting("Cost of flipping a label, where labels may flip.", float, 0.25, low=0, high=1e9),
    "flip": Setting("Probability with which the reference measure flips a label.", float, 0.1, low=0, high=1, open_low=True, open_high=True),
    # Regularisation and sampling
    "epsilon": Setting("Strength of the entropic regularisation; of the first step where it decays.", float, 0.1, low=0, high=100, open_low=True),
    "decay": Setting("Exponent with which epsilon falls in k + 1; 0: constant.", float, 0.0, low=0, high=4),
    "floor": Setting("Least epsilon of a decaying schedule.", float, 1e-6, low=0, high=1, open_low=True),
    "sampler": Setting("plain: draws from the reference measure; shifted: importance draws around the worst case; library: around a gradient step.", str, "shifted", choices=SAMPLERS),
    "samples": Setting("m: draws a datum, all labels together.", int, 16, low=1, high=1_000_000),
    "samples_growth": Setting("Exponent with which m grows in the step number.", float, 0.0, low=0, high=2),
    "samples_max": Setting("Most draws a datum where m grows.", int, 4096, low=1, high=1_000_000),
    "compared": Setting("Points of the compact set at which gradients are compared.", int, 32, low=1, high=100_000),
    "evaluations": Setting("Budget of a baseline: evaluations of the loss at a drawn point, with its gradient.", int, 1_024_000, low=1, high=10**12),
    "adam_step_size": Setting("AdamW's step size.", float, 0.05, low=0, high=100, open_low=True),
    "first_steps": Setting("Steps on the plain mean loss before the robust ones.", int, 200, low=0, high=1_000_000),
    # The projected method
    "schedule": Setting("Name of a schedule of epsilon, an axis of the records.", str, "constant"),
    "steps": Setting("T: steps of the method, or evaluations of the whole objective.", int, 4000, low=0, high=100_000_000),
    "batch": Setting("b: data a step.", int, 16, low=1, high=1_000_000),
    "step_size": Setting("Step size of theta at the first step; falls like (k + 1)^-1/2.", float, 0.05, low=0, high=1000),
    "lam_step_size": Setting("Step size of lam at the first step; falls alike.", float, 20.0, low=0, high=1e6),
    "ball": Setting("R: largest norm of theta in the compact set.", float, 1.0, low=0, high=1e6, open_low=True),
    "lam_low": Setting("Least lam in the compact set.", float, 1.1, low=0, high=1e9, open_low=True),
    "lam_start": Setting("lam at the start.", float, 5.0, low=0, high=1e9, open_low=True),
    "lam_high": Setting("Largest lam in the compact set.", float, 50.0, low=0, high=1e9, open_low=True),
    "weight_start": Setting("Every weight at the start.", float, 0.0, low=-1e6, high=1e6),
    "block": Setting("Steps whose random numbers are drawn at once; part of a run's definition.", int, 25, low=1, high=10_000),
    "points": Setting("Number of steps, evenly spaced in the logarithm, at which a run is measured.", int, 40, low=1, high=10_000),
}  # fmt: skip

PUBLIC: dict[str, Setting] = {
    **SETTINGS,
    "label_flip": Setting("Probability with which the reference flips a label; 0: labels are fixed.", float, 0.0, low=0, high=1, open_high=True),
    "label_cost": SETTINGS["kappa"],
    "ascents": Setting("Gradients in x by which the centre of the draws is found.", int, 3, low=1, high=1000),
    "fit_intercept": Setting("Whether the model has an intercept.", bool, True),
    "method": Setting("psgd: projected stochastic gradients; exact: the unregularised problem solved by Newton steps.", str, "psgd", choices=("psgd", "exact")),
    "dual_step_size": SETTINGS["lam_step_size"],
    "random_state": Setting("Seed of minibatches and draws.", int, 0, low=0, high=2**63),
}  # fmt: skip
"""What the public classes take, beside the study's settings."""
