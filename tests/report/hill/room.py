from descent.core.declare import ExperimentCard, MethodCard, Metric, Room

from .settings import SETTINGS

ROOM = Room(
    settings=SETTINGS,
    metrics={
        "loss": Metric("", "height above the valley's floor", better="lower", log=True),
        "curvature": Metric("", "trace of the Hessian where the run stands", better="lower"),
        "accuracy": Metric("", "share of test points on the right side", better="higher"),
        "mean_loss": Metric("", "mean final loss over the tuning seeds", better="lower"),
        "chosen": Metric("", "1 for the grid point that was chosen"),
        "step_cpu_seconds": Metric("s", "CPU time of a step", better="lower"),
    },
    methods={
        "climb": MethodCard("smoothed descent", "headline", "looks at the smoothed surface", settings=("smoothing",)),
        "gd": MethodCard("gradient descent", "reference", "plain gradient descent", tag="code"),
        "sam": MethodCard("sharpness-aware descent", "baseline", "steps at the worst point nearby", tag="derived"),
        "drift": MethodCard("no smoothing (control)", "control", "the same noise without the smoothing", tag="ours"),
    },
    experiments={
        "descent": ExperimentCard("hill.settings", ("data", "steps", "step_size")),
        "sweep": ExperimentCard("hill.settings", ("data", "steps", "step_size")),
        "tuning": ExperimentCard("hill.settings", ("data", "steps", "step_size")),
        "language": ExperimentCard("hill.settings", ("steps", "step_size")),
        "cost": ExperimentCard("hill.settings", ("steps", "step_size", "repeats")),
    },
)
