"""How a pool of labelled samples is dealt out to clients: label skew by Dirichlet shares or by a few classes a client.

All samples are pooled, dealt out, and only then split into train and test within each client, so that a client is tested
on the mixture of labels that it trains on (PFLlib, Zhang et al., JMLR 26(50), 2025). Host only, NumPy.
"""

from __future__ import annotations

import numpy as np

from descent.core.errors import SettingError

TRIES = 200_000
"""Deals before giving up."""
TOGETHER = 64
"""Dirichlet deals whose shares are drawn at once: only sizes decide whether a deal stands."""


def dirichlet(
    labels: np.ndarray, clients: int, alpha: float, rng: np.random.Generator, least: int = 20
) -> list[np.ndarray]:
    """Sample numbers of each client: every class in shares p ~ Dirichlet(alpha), dealt again until all have `least`.

    A client that already holds its fair share (N / clients) gets no more of the classes that follow. Disjoint and
    complete. Raises SettingError when no deal gives every client enough.
    """
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    if len(labels) < clients * least:
        raise SettingError(
            f"dirichlet: {len(labels)} samples cannot give {clients} clients {least} each; ask for fewer clients"
        )
    for _ in range(TRIES // TOGETHER):
        drawn = rng.dirichlet(np.full(clients, alpha), (TOGETHER, len(classes)))
        sizes, edges = np.zeros((TOGETHER, clients), int), []
        whole = np.ones(TOGETHER, bool)
        for c, members in enumerate(classes):
            shares = drawn[:, c] * (sizes < len(labels) / clients)
            total = shares.sum(1, keepdims=True)
            whole &= total[:, 0] > 0
            cuts = (np.cumsum(shares / np.where(total > 0, total, 1), 1) * len(members)).astype(int)
            cuts[:, -1] = len(members)
            sizes += np.diff(cuts, axis=1, prepend=0)
            edges.append(cuts[:, :-1])
        good = np.flatnonzero(whole & (sizes.min(1) >= least))
        if len(good):
            pairs = zip(classes, edges, strict=True)
            parts = [np.split(rng.permutation(members), cuts[good[0]]) for members, cuts in pairs]
            return [np.concatenate(own) for own in zip(*parts, strict=True)]
    raise SettingError(f"dirichlet: no deal of {TRIES} gave each of {clients} clients {least} samples; lower `least`")


def by_class(labels: np.ndarray, clients: int, each: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Sample numbers of each client: `each` classes a client, uniformly, until every class has an owner; a class is cut
    evenly among its owners (a balanced variant of PFLlib's, ours)."""
    names = np.unique(labels)
    if not 1 <= each <= len(names) or each * clients < len(names):
        raise SettingError(
            f"by_class: {clients} clients with {each} classes each cannot own {len(names)} classes; ask for more"
        )
    for _ in range(TRIES):
        owned = np.stack([rng.permutation(len(names))[:each] for _ in range(clients)])
        if len(np.unique(owned)) == len(names):
            break
    else:
        raise SettingError(f"by_class: no draw of {TRIES} gave every class an owner; raise `clients`")
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for c, name in enumerate(names):
        owners = np.flatnonzero((owned == c).any(1))
        for i, part in zip(
            owners, np.array_split(rng.permutation(np.flatnonzero(labels == name)), len(owners)), strict=True
        ):
            parts[i].append(part)
    return [np.concatenate(own) for own in parts]


def deal(rule: str, labels: np.ndarray, clients: int, rng: np.random.Generator, least: int = 20) -> list[np.ndarray]:
    """Sample numbers of each client under `dirichlet-<alpha>` or `classes-<number>`."""
    kind, _, number = rule.partition("-")
    if kind == "dirichlet":
        return dirichlet(labels, clients, float(number), rng, least)
    return by_class(labels, clients, int(number), rng)


def split(parts: list[np.ndarray], rng: np.random.Generator, share: float = 0.75) -> tuple[list, list]:
    """(train, test) sample numbers of each client, shuffled; at least one of each."""
    train, test = [], []
    for part in parts:
        part = rng.permutation(part)
        cut = min(max(int(share * len(part)), 1), len(part) - 1)
        train.append(part[:cut])
        test.append(part[cut:])
    return train, test
