from descent.core.settings import Setting

SETTINGS = {
    "step_size": Setting("Step size.", float, low=0, high=10, open_low=True),
    "steps": Setting("Steps.", int, low=1, high=10**6),
    "noise": Setting("Standard deviation of the gradient's noise.", float, default=0.0, low=0),
    "world": Setting("Which quadratic.", str, default="round", choices=("round", "long")),
    "checkpoint": Setting("A folder that the user supplies.", str, default=""),
    "repeats": Setting("Repeats of a measurement.", int, default=5, low=1),
}
