from descent.core.declare import ExperimentCard, MethodCard, Metric, Room

from .settings import SETTINGS

ROOM = Room(
    settings=SETTINGS,
    metrics={
        "loss": Metric("", "half the squared distance to the optimum", better="lower", log=True),
        "scale": Metric("", "the curvature that the base job found"),
        "step_cpu_seconds": Metric("s", "CPU time of a step", better="lower"),
        "step_wall_seconds": Metric("s", "wall time of a step", better="lower"),
        "mean_loss": Metric("", "mean final loss over the tuning seeds", better="lower"),
        "chosen": Metric("", "1 for the grid point that was chosen"),
    },
    methods={
        "noisy": MethodCard("noisy descent", "headline", "gradient descent with Gaussian noise", settings=("noise",)),
        "gd": MethodCard("gradient descent", "baseline", "plain gradient descent"),
        "base": MethodCard("base", "control", "finds the curvature that the others are given"),
    },
    experiments={
        "base": ExperimentCard("tiny.base", ("world",)),
        "tuning": ExperimentCard("tiny.race", ("world", "steps", "step_size")),
        "race": ExperimentCard("tiny.race", ("world", "steps", "step_size", "checkpoint")),
        "cost": ExperimentCard("tiny.race", ("world", "steps", "step_size", "repeats")),
    },
)
