"""What this room declares: metrics, methods and experiments. Labels and texts only; no training module reads it."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.mypaper.settings import SETTINGS

RACE = ("condition", "dimension", "noise", "steps", "block", "points")

ROOM = Room(
    metrics={
        "loss": Metric(
            "", "f(x), half the squared distance to the optimum in the curvature's metric.", "lower", log=True
        ),
        "distance": Metric("", "Distance |x| to the optimum.", "lower", log=True),
        "gradient": Metric(
            "",
            "Length of the gradient that the last step followed, noise included; at the start without noise.",
            "none",
            log=True,
        ),
    },
    methods={
        "heavy_ball": MethodCard(
            "heavy ball",
            "headline",
            "Gradient descent that keeps a share of its last move.",
            "paper",
            ("step_size", "momentum"),
            builder="momentum:heavy_ball",
        ),
        "descend": MethodCard(
            "gradient descent",
            "reference",
            "Plain gradient descent.",
            "paper",
            ("step_size",),
            builder="descending:descend",
        ),
    },
    experiments={
        "tuning": ExperimentCard("descent.papers.mypaper.race", RACE),
        "race": ExperimentCard("descent.papers.mypaper.race", RACE),
    },
    settings=SETTINGS,
)
