"""Small federations for the tests: random images, a few clients with unequal numbers of samples, float64."""

import numpy as np
import torch

from descent.core.streams import Streams
from descent.papers.pfedsop.federation import Federation
from descent.papers.pfedsop.network import Mlp, Network
from descent.papers.pfedsop.rounds import Rounds

INPUTS, HIDDEN, CLASSES = 6, 16, 10


def pool(size=240, seed=0):
    """x (N, 6) float64, labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, size)
    centres = rng.standard_normal((CLASSES, INPUTS))
    return torch.from_numpy(centres[labels] + 0.3 * rng.standard_normal((size, INPUTS))), torch.from_numpy(labels)


def samples_of(seed, sizes=(30, 12, 25, 9), size=240):
    """Disjoint sample numbers of each client; two have fewer than two batches of seven."""
    order = np.random.default_rng(100 + seed).permutation(size)
    return np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])


def federation(
    seeds=(7, 8),
    *,
    grid=1,
    lr=0.05,
    rounds=5,
    members=2,
    steps=4,
    batch=7,
    dtype=torch.float64,
    sizes=(30, 12, 25, 9),
    device="cpu",
):
    """A federation of as many clients as `sizes`, hidden layer of 16."""
    x, labels = pool()
    y = torch.nn.functional.one_hot(labels, CLASSES).to(dtype)
    train = [samples_of(seed, sizes) for seed in seeds]
    network = Mlp(INPUTS, HIDDEN, CLASSES)
    start = torch.stack([start_of(seed, network.size) for seed in seeds]).to(dtype)
    draws = Rounds(
        Streams("pfedsop"), "small", seeds, train, rounds=rounds, participants=members, local_steps=steps, batch=batch
    )
    counts = torch.tensor([[len(own) for own in seed] for seed in train]).to(device)
    return Federation(
        network, x.to(dtype).to(device), y.to(device), counts, start.to(device), draws, grid=grid, local_step_size=lr
    )


def start_of(seed, size):
    return torch.from_numpy(np.random.default_rng(500 + seed).uniform(-0.4, 0.4, size))


def play(method, rounds=5, first=0, state=None):
    """(state, infos) after the rounds; the states' rows are overwritten, so curves must be copied on the way."""
    from descent.core.tree import tree_map

    state, infos, curve = state or method.init(), [], []
    with torch.no_grad():
        for k in range(first, first + rounds):
            noise = tree_map(lambda x: x[0], method.draw(k, 1))
            state, info = method.step(state, noise)
            infos.append(info)
            curve.append(state.personal.clone())
    return state, infos, curve


def plain_of(fed, s):
    """(clients, rounds, start) of seed number s, in the form of pfedsop_plain."""
    clients, rounds = [], []
    labels = fed.y.argmax(1)
    for own in fed.rounds.train[s]:
        own = torch.from_numpy(own)
        clients.append((fed.x[own], labels[own]))
    for k in range(fed.rounds.rounds):
        drawn = fed.rounds.draw(k, 1, extra=True)
        chosen = drawn.clients[0, s].tolist()
        rounds.append(
            (
                chosen,
                *(
                    [_within(fed, s, i, table[0, s, :, j]) for j, i in enumerate(chosen)]
                    for table in (drawn.index, drawn.extra)
                ),
            )
        )
    return clients, rounds, fed.start[s]


def _within(fed, s, client, index):
    """Positions of the sample numbers index (T, B) among the client's own."""
    where = {int(sample): position for position, sample in enumerate(fed.rounds.train[s][client])}
    return torch.tensor([[where[int(sample)] for sample in row] for row in index])


class Quadratic(Network):
    """f(x) = |x - c|^2 / 2, the sample being c itself: exact gradients, nothing to classify."""

    def __init__(self, size=2):
        self.size, self.head = size, 0

    def gradient(self, params, x, y):
        return params - x.mean(1)
