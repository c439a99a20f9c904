"""The model-free version: unbiased estimates, chunks, replays, and where it ends with many runs."""

import pytest
import torch
from gmfg_reference import matrix_game
from gmfg_worlds import World

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.gmfg import Game, kernel, nash, players_on, population
from descent.papers.gmfg.instances import default_means, players_norm, slope_norm
from descent.papers.gmfg.intercept import gradient
from descent.papers.gmfg.model_free import (
    Sampled,
    intercept_estimate,
    sampled,
    simulated_population,
    slope_estimate,
    world,
)
from descent.papers.gmfg.slope import covariance, plain_gradient
from descent.toolbox.capture import captured
from tape import Tape

SEEDS = (500, 501, 502)


def keys(*label, seeds=SEEDS):
    return torch.tensor([Streams("gmfg").entropy("test", seed, *label) % 2**63 for seed in seeds])


def scene(noise=(0.1, 1.0), intervals=6, players=4, seeds=SEEDS):
    """(world, exact game of the last level, players, slopes, intercepts); every seed has the default start."""
    levels = Game.scalar(intervals=intervals, noise=torch.tensor(noise, dtype=torch.float64))
    group = players_on(kernel("unifatt", players), default_means(players))
    start = group.start[:, :, 0].expand(len(seeds), -1, -1)
    exact = Game.scalar(intervals=intervals, noise=noise[-1])
    generator = torch.Generator().manual_seed(0)
    K = -1 + 0.3 * torch.randn(1, 1, intervals, 1, 1, dtype=torch.float64, generator=generator)
    G = torch.randn(1, 1, intervals, 1, players, dtype=torch.float64, generator=generator)
    wide = (len(noise), len(seeds), -1, -1, -1)
    return world(levels, group.kernel[0], start), exact, group, K.expand(*wide), G.expand(*wide)


def within_errors(estimates, want, errors=4.5, bias=0.0):
    """(repeats, ...) estimates have mean `want` up to so many standard errors."""
    error = estimates.std(0) / len(estimates) ** 0.5
    return bool(((estimates.mean(0) - want).abs() <= errors * error + bias).all())


def test_the_slope_s_estimate_is_its_gradient_and_the_sample_covariance_the_covariance():
    seeds = tuple(range(500, 600))
    w, exact, _, K, _ = scene(seeds=seeds)
    estimate, spread = slope_estimate(w, K, keys("slope", seeds=seeds), 200, 0.02, w.players.split(4))
    assert within_errors(estimate[1], plain_gradient(exact, K[1, :1])[0], bias=2e-3)  # smoothing's bias is O(s^2)
    assert within_errors(spread[1], covariance(exact, K[1, :1])[0, :-1])


def test_the_intercept_s_estimate_is_its_gradient():
    seeds = tuple(range(500, 600))
    w, exact, players, K, G = scene(seeds=seeds)
    Z = torch.randn(1, 1, 7, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).expand(
        2, len(seeds), -1, -1, -1
    )
    estimate = intercept_estimate(w, K, G, Z, keys("intercept", seeds=seeds), 200, 0.1, w.players.split(4))
    want, _ = gradient(exact, K[1, :1], G[1, :1, :, :, None], Z[1, :1, :, :, None], players.start)
    assert within_errors(estimate[1], want[0, :, :, 0])


def test_the_simulated_population_is_the_population():
    seeds = tuple(range(500, 540))
    w, exact, players, K, G = scene(seeds=seeds)
    Z = simulated_population(w, K, G, keys("population", seeds=seeds), 100)
    assert within_errors(Z[1], population(exact, players, K[1, :1], G[1, :1, :, :, None])[0, :, :, 0])


def test_without_noise_the_population_is_exact_up_to_its_start():
    w, exact, players, K, G = scene(noise=(1e-12,))
    still = w._replace(root=torch.zeros_like(w.root))
    Z = simulated_population(still, K, G, keys("still"), 2)
    torch.testing.assert_close(
        Z[0], population(exact, players, K[0, :1], G[0, :1, :, :, None])[:, :, :, 0].expand_as(Z[0]), atol=1e-9, rtol=0
    )


def test_matrix_valued_states_estimate_their_gradients_too():
    exact = World(matrix_game(2, 3, N=4))
    seeds = tuple(range(500, 560))
    w = world(exact.game, exact.players.kernel[0], exact.players.start[:, :, 0].expand(len(seeds), -1, -1))
    K, G, Z = (x.expand(len(seeds), *x.shape[1:])[None] for x in exact.tensors)
    G, Z = G[..., 0, :], Z[..., 0, :]
    estimate, spread = slope_estimate(w, K, keys("slope", seeds=seeds), 100, 0.02, w.players.split(5))
    K1, G1, Z1 = exact.tensors
    assert within_errors(estimate[0], plain_gradient(exact.game, K1)[0], bias=1e-2)
    assert within_errors(spread[0], covariance(exact.game, K1)[0, :-1])
    by_intercept = intercept_estimate(w, K, G, Z, keys("intercept", seeds=seeds), 100, 0.1, w.players.split(5))
    assert within_errors(by_intercept[0], gradient(exact.game, K1, G1, Z1, exact.players.start)[0][0, :, :, 0])


def test_chunks_change_only_the_rounding():
    w, _, _, K, G = scene()
    Z = simulated_population(w, K, G, keys("z"), 8)
    whole, parts = w.players.split(4), w.players.split(3)
    for a, b in zip(
        slope_estimate(w, K, keys(0), 8, 0.1, whole), slope_estimate(w, K, keys(0), 8, 0.1, parts), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)
    one, two = (intercept_estimate(w, K, G, Z, keys(1), 8, 0.1, chunks) for chunks in (whole, parts))
    torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-10)


def test_a_seed_and_a_noise_level_do_not_notice_the_others_of_their_batch():
    w, _, _, K, G = scene()
    alone, _, _, K1, G1 = scene(noise=(1.0,), seeds=SEEDS[:1])
    step, same = (
        sampled(w, particles=8, slope_steps=2, intercept_steps=2).update,
        sampled(alone, particles=8, slope_steps=2, intercept_steps=2).update,
    )
    many = step(Sampled(K, G, simulated_population(w, K, G, keys("z"), 8)), keys(0))
    one = same(Sampled(K1, G1, simulated_population(alone, K1, G1, keys("z")[:1], 8)), keys(0)[:1])
    for a, b in zip(many, one, strict=True):
        torch.testing.assert_close(a[1:, :1], b, atol=1e-11, rtol=1e-9)


def test_with_many_runs_it_comes_near_the_equilibrium():
    w, exact, players, _, _ = scene(noise=(0.1,), intervals=5, seeds=SEEDS[:1])
    best = nash(exact, players)
    step = sampled(w, particles=400).update
    state = Sampled(*(torch.zeros(1, 1, *shape, dtype=torch.float64) for shape in ((5, 1, 1), (5, 1, 4), (6, 1, 4))))
    for i in range(5):
        state = step(state, keys(i)[:1])
    assert (slope_norm(exact, state.K[0] - best.K) / slope_norm(exact, best.K)).item() < 0.03
    assert (players_norm(exact, state.Z[0, :, :, :, None] - best.Z) / players_norm(exact, best.Z)).item() < 0.03


def test_a_bad_setting_is_refused_in_one_sentence():
    w = scene()[0]
    with pytest.raises(SettingError, match=r"sampled: `radius` must lie in \(0, 100\], got 0"):
        sampled(w, radius=0)


def test_replaying_a_recorded_step_is_calling_it():
    w, _, _, K, G = scene()
    Z = simulated_population(w, K, G, keys("z"), 8)
    chunks, size = w.players.split(2), torch.tensor(0.3, dtype=torch.float64)

    def slope(K, keys):
        return K - 0.1 * slope_estimate(w, K, keys, 8, 0.1, chunks)[0]

    def intercept(K, G, Z, keys, size):
        return G - size * intercept_estimate(w, K, G, Z, keys, 8, 0.1, chunks)

    replayed = captured(slope, Tape), captured(intercept, Tape)
    for i in range(3):
        K2, G2 = slope(K, keys(i)), intercept(K, G, Z, keys(i), size / (1 + i))
        assert torch.equal(replayed[0](K, keys(i)), K2) and torch.equal(
            replayed[1](K, G, Z, keys(i), size / (1 + i)), G2
        )
        K, G = K2, G2


def test_outer_iterations_replay_too():
    from descent.papers.gmfg import pg
    from descent.papers.gmfg.policy_gradient import started

    game, players = Game.scalar(intervals=8), players_on(kernel("threshold", 5), default_means(5))
    step = pg(game, players).update
    a = b = started(game, players, torch.zeros(1, 8, 1, 1).double(), torch.zeros(1, 8, 1, 1, 5).double())
    replayed = captured(step, Tape)
    for _ in range(3):
        a, b = step(a), replayed(b)
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True)) and type(b) is type(a)
