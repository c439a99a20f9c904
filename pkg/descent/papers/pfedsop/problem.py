"""From settings and a dataset to a federation: pool, partition, start and draws of every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.pfedsop.convolution import Cnn
from descent.papers.pfedsop.evaluation import Tests
from descent.papers.pfedsop.federation import Federation
from descent.papers.pfedsop.network import Mlp
from descent.papers.pfedsop.partition import deal, split
from descent.papers.pfedsop.rounds import Rounds

WORLD = (
    "data", "images", "partition", "clients", "participants", "least", "model", "hidden", "rounds", "every", "local_steps",
    "batch", "target",
)  # fmt: skip
"""The settings that every method of an experiment shares; what is not among them may differ along a grid."""


class Pool(NamedTuple):
    """All samples: images (N, ...) float32 in [0, 1], labels (N,)."""

    images: np.ndarray
    labels: np.ndarray


class Clients(NamedTuple):
    """Sample numbers of each seed's clients."""

    train: list[list[np.ndarray]]
    test: list[list[np.ndarray]]


def pool(streams: Streams, datasets: Mapping[str, Any], params: Mapping[str, Any]) -> Pool:
    """The dataset's images, train and test together, or as many of them as asked."""
    data = datasets[params["data"]]
    if params["data"] == "digits":
        images, labels, top = data["images"], data["labels"], 16
    else:
        images = np.concatenate([data["train_images"], data["test_images"]])
        labels = np.concatenate([data["train_labels"], data["test_labels"]])
        top = 255
    labels = labels.astype(np.int64)
    if params["images"] and params["images"] < len(labels):
        rng = streams.numpy("subsample", 0, params["data"])
        chosen = np.sort(np.concatenate(_even(labels, params["images"], rng)))
        images, labels = images[chosen], labels[chosen]
    return Pool(images.astype(np.float32) / top, labels)


def _even(labels: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Equally many samples of each class, `size` in all or a few less."""
    names = np.unique(labels)
    return [rng.permutation(np.flatnonzero(labels == name))[: size // len(names)] for name in names]


def name_of(params: Mapping[str, Any]) -> str:
    """Keys the streams of a world: methods and step sizes share them, other data, partitions or client counts do not."""
    return f"{params['data']} {params['images']} {params['partition']} {params['clients']}"


def clients_of(streams: Streams, seeds: Sequence[int], labels: np.ndarray, params: Mapping[str, Any]) -> Clients:
    """Each seed's partition, split into train and test."""
    if params["participants"] > params["clients"]:
        raise SettingError(
            f"pfedsop: `participants` must lie in [1, {params['clients']}] (the clients), got {params['participants']}"
        )
    if params["rounds"] % params["every"]:
        raise SettingError(f"pfedsop: `every` must divide `rounds` ({params['rounds']}), got {params['every']}")
    found = Clients([], [])
    for seed in seeds:
        rng = streams.numpy("partition", seed, name_of(params))
        train, test = split(deal(params["partition"], labels, params["clients"], rng, params["least"]), rng)
        found.train.append(train)
        found.test.append(test)
    return found


class World(NamedTuple):
    """What all methods of an experiment share on one partition."""

    pool: Pool
    clients: Clients
    network: Mlp | Cnn
    start: Tensor  # (S, d)
    rounds: Rounds
    x: Tensor  # (N, ...) on the device
    y: Tensor  # (N, C) one-hot, on the device
    tests: Tests

    def federation(self, grid: int = 1, local_step_size: float | Sequence[float] = 0.01) -> Federation:
        """The world's federations, once for each grid value."""
        counts = torch.tensor([[len(own) for own in seed] for seed in self.clients.train]).to(self.x.device)
        return Federation(
            self.network, self.x, self.y, counts, self.start, self.rounds, grid=grid, local_step_size=local_step_size
        )


def world(
    streams: Streams,
    datasets: Mapping[str, Any],
    seeds: Sequence[int],
    params: Mapping[str, Any],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> World:
    """The world of `seeds` under the settings WORLD."""
    found = pool(streams, datasets, params)
    clients = clients_of(streams, seeds, found.labels, params)
    classes = int(found.labels.max()) + 1
    shape = found.images.shape[1:]
    network = Cnn(shape, classes) if params["model"] == "cnn" else Mlp(int(np.prod(shape)), params["hidden"], classes)
    uniform = np.stack([streams.numpy("start", seed).random(network.size) for seed in seeds])
    start = torch.from_numpy(2 * uniform - 1).to(dtype) * network.bounds().to(dtype)
    x = torch.from_numpy(found.images).to(dtype)
    y = torch.nn.functional.one_hot(torch.from_numpy(found.labels), classes).to(dtype)
    rounds = Rounds(
        streams, name_of(params), seeds, clients.train, rounds=params["rounds"], participants=params["participants"],
        local_steps=params["local_steps"], batch=params["batch"],
    )  # fmt: skip
    x = x if params["model"] == "cnn" else x.flatten(1)
    tests = Tests(clients.test, x, torch.from_numpy(found.labels), device)
    return World(found, clients, network, start.to(device), rounds, x.to(device), y.to(device), tests)
