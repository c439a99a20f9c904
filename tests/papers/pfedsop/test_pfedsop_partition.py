"""Dealing out samples, and drawing rounds from them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.pfedsop.partition import by_class, deal, dirichlet, split
from descent.papers.pfedsop.problem import pool
from descent.papers.pfedsop.rounds import Rounds, minibatches


def labels(size=600, classes=10, seed=0):
    return np.random.default_rng(seed).integers(0, classes, size)


@settings(max_examples=20, deadline=None)
@given(seed=integers(0, 10_000))
def test_deals_are_disjoint_complete_and_large_enough(seed):
    pool = labels()
    for rule, least in (("dirichlet-0.1", 10), ("dirichlet-0.5", 10), ("classes-2", 1)):
        parts = deal(rule, pool, 8, np.random.default_rng(seed), 10)
        whole = np.concatenate(parts)
        assert len(whole) == len(pool) == len(np.unique(whole))
        assert min(map(len, parts)) >= least
        if rule == "classes-2":
            assert all(1 <= len(np.unique(pool[own])) <= 2 for own in parts)
        train, test = split(parts, np.random.default_rng(seed))
        for part, mine, held in zip(parts, train, test, strict=True):
            assert sorted([*mine, *held]) == sorted(part) and len(mine) == max(int(0.75 * len(part)), 1)


def test_a_client_at_its_fair_share_gets_no_more():
    """With one class after another, no client may exceed its fair share by more than the class that took it there."""
    pool = labels(1000)
    for seed in range(5):
        parts = dirichlet(pool, 10, 0.1, np.random.default_rng(seed), 5)
        for own in parts:
            counts = np.bincount(pool[own], minlength=10)
            before_last = len(own) - counts[np.flatnonzero(counts)[-1]]
            assert before_last < 100 or counts[np.flatnonzero(counts)[-1]] <= 1


def test_small_alpha_means_strong_skew():
    pool = labels(1797)
    share = [
        np.mean([np.bincount(pool[own]).max() / len(own) for own in deal(rule, pool, 20, np.random.default_rng(1))])
        for rule in ("dirichlet-0.1", "dirichlet-0.5")
    ]
    assert share[0] > share[1] + 0.1


def test_a_class_is_cut_evenly_among_its_owners():
    pool = np.repeat(np.arange(4), 30)
    parts = by_class(pool, 6, 2, np.random.default_rng(0))
    for name in range(4):
        sizes = [int((pool[own] == name).sum()) for own in parts]
        owners = [n for n in sizes if n]
        assert sum(owners) == 30 and max(owners) - min(owners) <= 1


def test_what_cannot_be_dealt_is_refused_in_one_sentence():
    with pytest.raises(SettingError, match="dirichlet: 600 samples cannot give 100 clients 20 each"):
        dirichlet(labels(), 100, 0.1, np.random.default_rng(0))
    with pytest.raises(SettingError, match="by_class: 3 clients with 2 classes each cannot own 10 classes"):
        by_class(labels(), 3, 2, np.random.default_rng(0))


def test_minibatches_shuffle_without_replacement_and_drop_the_rest():
    samples = np.arange(100, 123)
    got = minibatches(np.random.default_rng(0), samples, 7, 5)  # four batches a shuffle
    assert got.shape == (7, 5) and set(got.ravel()) <= set(samples)
    for epoch in (got[:4], got[4:]):
        assert len(np.unique(epoch)) == epoch.size
    assert not np.array_equal(got[0], got[4])
    few = minibatches(np.random.default_rng(0), samples[:3], 50, 5)
    assert few.shape == (50, 5) and set(few.ravel()) == set(samples[:3])


def test_fewer_images_are_equally_many_of_each_class_by_one_draw_for_all_seeds():
    rng, streams = np.random.default_rng(3), Streams("pfedsop")
    names = {"train": 50, "test": 30}
    data = {f"{part}_images": rng.integers(0, 256, (n, 2, 2), dtype=np.uint8) for part, n in names.items()}
    data |= {f"{part}_labels": np.arange(n, dtype=np.uint8) % 4 for part, n in names.items()}
    found = pool(streams, {"fashion_mnist": data}, {"data": "fashion_mnist", "images": 42})
    images = np.concatenate([data["train_images"], data["test_images"]])
    whole = np.concatenate([data["train_labels"], data["test_labels"]])
    draw = streams.numpy("subsample", 0, "fashion_mnist")
    kept = np.sort(np.concatenate([draw.permutation(np.flatnonzero(whole == c))[:10] for c in range(4)]))
    np.testing.assert_array_equal(found.images, images[kept].astype(np.float32) / 255)
    np.testing.assert_array_equal(found.labels, whole[kept])
    assert np.bincount(found.labels).tolist() == [10] * 4


def small(seeds, rounds=6):
    train = [[np.arange(20 * i, 20 * i + 12 + i) for i in range(4)] for _ in seeds]
    return Rounds(Streams("pfedsop"), "w", seeds, train, rounds=rounds, participants=2, local_steps=3, batch=5)


def test_a_round_s_draws_depend_on_the_seed_and_the_round_alone():
    together, alone, longer = small((5, 6, 7)), small((6,)), small((6,), rounds=9)
    for k in (5, 0, 3):
        a, b, c = (r.draw(k, 1, extra=True, tuning=(k + 1,)) for r in (together, alone, longer))
        for one, two, three in zip(a, b, c, strict=True):
            assert torch.equal(one[:, 1:2], two) and torch.equal(two, three)
    assert not torch.equal(together.draw(0, 1).index, together.draw(1, 1).index)
    assert not torch.equal(together.draw(0, 1, extra=True).extra, together.draw(0, 1).index)


def test_participants_are_drawn_without_replacement_and_train_on_their_own_samples():
    rounds = small((5, 6))
    counts = np.zeros(4)
    for k in range(6):
        drawn = rounds.draw(k, 1)
        assert drawn.clients.shape == (1, 2, 2) and drawn.index.shape == (1, 2, 3, 2, 5) and drawn.extra is None
        for s in range(2):
            chosen = drawn.clients[0, s].tolist()
            assert len(set(chosen)) == 2
            for j, i in enumerate(chosen):
                counts[i] += 1
                assert set(drawn.index[0, s, :, j].flatten().tolist()) <= set(rounds.train[s][i].tolist())
    assert (counts > 0).all()
    with pytest.raises(ValueError, match="one round at a time"):
        rounds.draw(0, 2)
