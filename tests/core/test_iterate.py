"""iterate.py: the loop equals the plain loop, and a run killed at any block ends with the same bytes."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descent.core.checkpoint import FileCheckpoint
from descent.core.context import Context
from descent.core.iterate import iterate, log_grid
from descent.core.streams import Streams
from descent.core.tree import on_device, on_host

STREAMS = Streams("tests")


class State(NamedTuple):
    x: torch.Tensor  # (S, 3)
    pair: tuple  # a nested tuple must survive a checkpoint
    t: torch.Tensor  # (S,)


def context(checkpoint=None, say=lambda text: None):
    made = Context(torch.device("cpu"), STREAMS, {}, say=say)
    if checkpoint is not None:
        made.checkpoint = checkpoint
    return made


def start(seeds):
    x = STREAMS.normal("init", seeds, (3,))
    return State(x, (x.clone(), x + 1), torch.zeros(len(seeds), dtype=torch.float64))


def step(state, noise):
    x = 0.9 * state.x + 0.1 * noise
    return State(x, (state.pair[0] + x, state.pair[1]), state.t + 1)


def draw(seeds):
    return lambda k, count: STREAMS.normal("noise", seeds, (count, 3), k).transpose(0, 1).contiguous()


def loop(seeds, steps, block, at, **options):
    return iterate(
        options.pop("context", context()), "loop", start(seeds), step, steps=steps, block=block, draw=draw(seeds),
        measure=lambda s: {"norm": s.x.norm(dim=-1), "t": s.t}, at=at, **options,
    )  # fmt: skip


def plain(seeds, steps, block, at):
    """The obvious loop: one step after the other, noise of block k drawn when its first step comes."""
    state, norms = start(seeds), {0: start(seeds).x.norm(dim=-1)}
    for t in range(steps):
        if t % block == 0:
            noise = draw(seeds)(t // block, min(block, steps - t))
        state = step(state, noise[t % block])
        norms[t + 1] = state.x.norm(dim=-1)
    return state, np.stack([norms[t].numpy() for t in sorted(set(at))])


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 40), block=st.integers(1, 17), data=st.data())
def test_the_loop_equals_the_plain_loop(steps, block, data):
    at = data.draw(st.lists(st.integers(0, steps), min_size=1))
    state, trace = loop([1, 2], steps, block, at)
    want, norms = plain([1, 2], steps, block, at)
    assert torch.equal(state.x, want.x) and torch.equal(state.pair[0], want.pair[0])
    assert np.array_equal(trace.values["norm"], norms)
    assert trace.steps.tolist() == sorted(set(at))
    assert np.array_equal(trace.values["t"][:, 0], trace.steps)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("dies_after", range(1, 6))
def test_killed_at_any_block_and_started_again_gives_the_same_bytes(tmp_path, dies_after):
    class Dying(FileCheckpoint):
        saves = 0

        def save(self, *args, **kwargs):
            super().save(*args, **kwargs)
            Dying.saves += 1
            if Dying.saves == dies_after:
                raise Killed

    undisturbed = loop([1, 2], 50, 10, log_grid(50, 8))
    with pytest.raises(Killed):
        loop([1, 2], 50, 10, log_grid(50, 8), context=context(Dying(tmp_path / "c", "key", every=0)))
    resumed_draws = []
    checkpoint = FileCheckpoint(tmp_path / "c", "key", every=0)
    assert checkpoint.load("loop")["step"] == 10 * dies_after
    state, trace = iterate(
        context(checkpoint), "loop", start([1, 2]), step, steps=50, block=10,
        draw=lambda k, n: resumed_draws.append(k) or draw([1, 2])(k, n),
        measure=lambda s: {"norm": s.x.norm(dim=-1), "t": s.t}, at=log_grid(50, 8),
    )  # fmt: skip
    assert resumed_draws == list(range(dies_after, 5)), "it goes on where it stopped"
    assert isinstance(state, State) and torch.equal(state.x, undisturbed[0].x)
    assert all(np.array_equal(trace.values[m], undisturbed[1].values[m]) for m in ("norm", "t"))


def test_a_checkpoint_of_another_key_or_a_torn_one_is_ignored(tmp_path):
    path = tmp_path / "c"
    loop([1], 20, 10, [20], context=context(FileCheckpoint(path, "key", every=0)))
    assert FileCheckpoint(path, "key").load("loop")["step"] == 20
    assert FileCheckpoint(path, "other key").load("loop") is None
    path.write_bytes(path.read_bytes()[:100])
    assert FileCheckpoint(path, "key").load("loop") is None


def test_a_loop_may_end_early_once_every_row_has_masked_itself():
    def masked(state, noise):
        going = (state.t < torch.tensor([5.0, 12.0], dtype=torch.float64)).double()
        return State(state.x, state.pair, state.t + going)

    taken = []
    _, trace = iterate(
        context(), "loop", start([1, 2]), lambda s, n: taken.append(1) or masked(s, n), steps=1000, block=10,
        measure=lambda s: {"t": s.t}, at=[0, 7, 20, 500, 1000], finished=lambda s: s.t >= torch.tensor([5.0, 12.0]),
    )  # fmt: skip
    assert len(taken) == 20
    assert trace.values["t"].tolist() == [[0, 0], [5, 7], [5, 12], [5, 12], [5, 12]]


def test_a_metric_asked_for_beyond_the_run_is_refused():
    with pytest.raises(ValueError, match=r"outside 0\.\.5"):
        loop([1], 5, 2, [6])


def test_trees_keep_their_kind():
    tree = {"a": start([1]), "b": [torch.ones(2), 3]}
    back = on_device(on_host(tree), torch.device("cpu"), like=tree)
    assert isinstance(back["a"], State) and back["b"][1] == 3 and torch.equal(back["a"].x, tree["a"].x)


@given(st.integers(1, 10**5), st.integers(2, 80))
def test_the_log_grid_has_both_ends_and_no_repeats(steps, points):
    grid = log_grid(steps, points)
    assert grid[0] == 0 and grid[-1] == steps and grid == sorted(set(grid)) and len(grid) <= points + 1
