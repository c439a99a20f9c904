from descent.core.settings import Setting

SETTINGS = {
    "step_size": Setting("Step size.", float, low=0, high=10, open_low=True),
    "steps": Setting("Steps.", int, low=1, high=10**6),
    "smoothing": Setting("Smoothing of the surface.", float, default=0.05, low=0),
    "data": Setting("Which surface.", str, default="plain", choices=("plain", "rough")),
    "repeats": Setting("Repeats of a measurement.", int, default=5, low=1),
}
