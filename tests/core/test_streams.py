"""streams.py: numbers are keyed by purpose and seed, never by order or companions."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from descent.core.streams import Streams

STREAMS = Streams("zoflat")


def test_the_key_is_pinned_so_that_records_survive_a_refactoring():
    assert STREAMS.entropy("init", 1000) == int.from_bytes(
        __import__("hashlib").sha256(b"zoflat\x1finit\x1f1000").digest()[:16], "little"
    )
    assert (
        STREAMS.numpy("init", 1000).standard_normal()
        == np.random.Generator(np.random.SFC64(STREAMS.entropy("init", 1000))).standard_normal()
    )


@given(seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=5, unique=True), f32=st.booleans())
def test_a_seed_does_not_notice_its_companions(seeds, f32):
    dtype = torch.float32 if f32 else torch.float64
    together = STREAMS.normal("noise", seeds, (3, 7), 4, dtype=dtype)
    for row, seed in enumerate(seeds):
        assert torch.equal(together[row], STREAMS.normal("noise", [seed], (3, 7), 4, dtype=dtype)[0])


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=2, unique=True
    )
)
def test_different_keys_give_different_numbers(keys):
    first, second = (STREAMS.numpy(*key).standard_normal(4) for key in keys)
    assert not np.any(first == second)


def test_papers_do_not_share_numbers_and_joined_words_do_not_collide():
    assert STREAMS.entropy("init", 1) != Streams("rpg").entropy("init", 1)
    assert STREAMS.entropy("a", 1, 12) != STREAMS.entropy("a", 11, 2)


def test_normals_have_the_moments_of_normals():
    draws = STREAMS.normal("moments", range(50), (2000,))
    assert abs(draws.mean()) < 4 / np.sqrt(draws.numel())
    assert abs(draws.var() - 1) < 4 * np.sqrt(2 / draws.numel())
    rows = torch.corrcoef(draws) - torch.eye(50)
    assert rows.abs().max() < 6 / np.sqrt(2000)


def test_asking_leaves_the_global_generators_alone():
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    STREAMS.normal("x", [1], (9,), dtype=torch.float32)
    STREAMS.normal("x", [1], (9,))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
