"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from typing import Any

from descent.core.errors import SettingError
from descent.core.settings import Setting, check

PARTITIONS = ("dirichlet-0.1", "dirichlet-0.5", "classes-2", "classes-10")
POOLS = ("digits", "fashion_mnist", "cifar10", "cifar100")

SETTINGS: dict[str, Setting] = {
    # Clients and data
    "data": Setting("The pool of images that is dealt out to the clients.", str, "digits", choices=POOLS),
    "images": Setting(
        "How many images of the pool are used, equally many of each class, the same for every seed; 0: all.", int, 0, low=0, high=10_000_000
    ),
    "partition": Setting(
        "How the pool is dealt out: dirichlet-a (every class in Dirichlet(a) shares) or classes-c (c classes a client).",
        str, "dirichlet-0.1", choices=PARTITIONS,
    ),
    "clients": Setting("K: clients.", int, 20, low=1, high=100_000),
    "participants": Setting("m: clients that take part in a round, drawn without replacement.", int, 5, low=1, high=100_000),
    "least": Setting("Fewest samples of a client under a Dirichlet partition.", int, 20, low=2, high=1_000_000),
    # Training
    "model": Setting("mlp (one hidden layer) or cnn (two convolutions, two dense layers).", str, "mlp", choices=("mlp", "cnn")),
    "hidden": Setting("Hidden units of the MLP.", int, 64, low=1, high=65_536),
    "rounds": Setting("R: communication rounds.", int, 60, low=1, high=1_000_000),
    "every": Setting("Rounds between two evaluations; must divide the rounds.", int, 3, low=1, high=1_000_000),
    "local_steps": Setting("T: minibatch steps of a local run.", int, 20, low=1, high=1_000_000),
    "batch": Setting("B: samples of a minibatch.", int, 10, low=1, high=1_000_000),
    "local_step_size": Setting("eta2: step size of local training.", float, 0.01, low=0, high=100, open_low=True),
    "target": Setting("Accuracy whose first evaluated round is recorded.", float, 0.85, low=0, high=1),
    # pFedSOP
    "step_size": Setting("eta1: step size of the personalised step; empty: 10 eta2 rho.", float, None, low=0, high=1e9, optional=True),
    "rho": Setting("rho: what regularises the rank-one Fisher matrix.", float, 100.0, low=0, high=1e12, open_low=True),
    "sharpness": Setting("lambda: how sharply the weight of the global update falls with the angle.", float, 1.0, low=0, high=1e6, open_low=True),
    "state_rule": Setting("What a client keeps: anchor (x after the step) or carry (x after local training).", str, "anchor", choices=("anchor", "carry")),
    "predict": Setting(
        "The model that predicts: after_training, or after_step (a diagnostic of anchor).",
        str, "after_training", choices=("after_training", "after_step"),
    ),
    "cold_start": Setting(
        "A client without an update of its own skips the step, or takes the global update for its own.",
        str, "skip", choices=("skip", "global"),
    ),
    "order": Setting("second (damped by the Fisher matrix) or first (along the update as it is).", str, "second", choices=("second", "first")),
    "mix": Setting("A constant weight of the global update; empty: the angle's Gompertz weight.", float, None, low=0, high=1, optional=True),
    # Baselines
    "proximal": Setting("mu: pull of local training towards the global model (FedProx 0.1, Ditto 1).", float, low=0, high=1e6),
    "attraction": Setting("pFedMe's lambda: pull of theta towards w.", float, 15.0, low=0, high=1e6),
    "inner_steps": Setting("pFedMe's K: steps of theta a minibatch.", int, 5, low=1, high=10_000),
    "inner_step_size": Setting("pFedMe's step size of theta.", float, 0.01, low=0, high=100, open_low=True),
    "head_step_size": Setting("FedALA's step size of its weights.", float, 1.0, low=0, high=1e6),
    "first_passes": Setting("FedALA's passes over its sample at a client's first call; later calls make one.", int, 10, low=1, high=10_000),
    "sample_share": Setting("FedALA's share of the local samples that weights are learned on.", float, 0.8, low=0, high=1, open_low=True),
}  # fmt: skip


def check_all(owner: str, **values: Any) -> None:
    """`check`, where a setting may also be a sequence: one value for each federation of a grid."""
    for name, value in values.items():
        if isinstance(value, (list, tuple)) and not value:
            raise SettingError(f"{owner}: `{name}` has no values")
        for one in value if isinstance(value, (list, tuple)) else [value]:
            check(owner, SETTINGS, **{name: one})
