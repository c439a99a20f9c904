"""The methods: their slow twin, limits that are free oracles, the equilibrium as a fixed point, and the negative control."""

import numpy as np
import pytest
import torch
from gmfg_reference import Reference, matrix_game
from gmfg_worlds import World, tensor

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.gmfg import (
    Game,
    damped,
    kernel,
    naive,
    nash,
    outer_rate,
    pg,
    picard,
    players_on,
    single,
    unscaled,
    vanilla,
)
from descent.papers.gmfg.instances import (
    default_means,
    initial_intercepts,
    initial_slopes,
    instance,
    players_norm,
    slope_norm,
)
from descent.papers.gmfg.intercept import hessian
from descent.papers.gmfg.policy_gradient import Policy, started

METHODS = {
    "pg": pg,
    "vanilla": vanilla,
    "unscaled": unscaled,
    "single": single,
    "picard": picard,
    "damped": damped,
    "naive": naive,
}
GRAPHONS = ["unifatt", "threshold", "constant"]


def small(graphons=("unifatt",), players=8, intervals=20, **changes):
    """A scalar game, its players with the default start, and its equilibrium."""
    game = Game.scalar(intervals=intervals, **changes)
    group = players_on(torch.stack([kernel(name, players) for name in graphons]), default_means(players))
    return game, group, nash(game, group)


def run(method, state, updates):
    for _ in range(updates):
        state = method.update(state)
    return state


def from_zero(game, players):
    g, M = players.values.shape
    K = torch.zeros(len(players.start), game.intervals, 1, 1, dtype=torch.float64)
    return started(game, players, K, torch.zeros(len(K), game.intervals, 1, g, M, dtype=torch.float64))


def z_error(game, state, best):
    return (players_norm(game, state.Z - best.Z) / players_norm(game, best.Z)).max().item()


def test_the_batched_method_is_the_plain_time_loop_for_every_seed_and_graphon():
    seeds, params = (500, 501), {"intervals": 12, "players": 6}
    streams = Streams("gmfg")
    game, players, _ = instance(streams, seeds, params, GRAPHONS)
    K = initial_slopes(streams, seeds, 12)
    G = initial_intercepts(streams, seeds, 12, 6).expand(-1, -1, -1, 3, -1)
    got = run(pg(game, players), started(game, players, K, G), 3)
    for s in range(2):
        for i, name in enumerate(GRAPHONS):
            start = (K[s].numpy(), G[s, :, :, i].numpy(), kernel(name, 6).numpy(), players.start[s, :, i].numpy())
            want = Reference(N=12).bilevel(*start, outer=3)
            torch.testing.assert_close(got.K[s], tensor(want[0]), atol=1e-11, rtol=1e-9)
            torch.testing.assert_close(got.G[s, :, :, i], tensor(want[1]), atol=1e-11, rtol=1e-9)
            torch.testing.assert_close(got.Z[s, :, :, i], tensor(want[2]), atol=1e-11, rtol=1e-9)


def test_matrix_valued_states_run_like_the_plain_time_loop_and_reach_their_equilibrium():
    world = World(matrix_game(2, 3, N=6))
    K, G, _ = world.tensors
    method = pg(world.game, world.players, slope_step_size=0.1, intercept_step_size=0.1)
    got = run(method, started(world.game, world.players, K, G), 2)
    want = world.reference.bilevel(world.K, world.G, world.W, world.mu0, outer=2, eta=0.1)
    for part, twin in zip((got.K[0], got.G[0, :, :, 0], got.Z[0, :, :, 0]), want, strict=True):
        torch.testing.assert_close(part, tensor(twin), atol=1e-10, rtol=1e-8)
    assert outer_rate(world.game, world.players.values).item() < 1
    best = nash(world.game, world.players)
    end = run(method, got, 150)
    assert all((a - b).abs().max() < 1e-7 for a, b in zip(end, best, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_the_equilibrium_is_a_fixed_point_of_every_method(name):
    game, players, best = small()
    state = run(METHODS[name](game, players), Policy(*best), 2)
    assert all((a - b).abs().max() < 1e-11 for a, b in zip(state, best, strict=True))


@pytest.mark.parametrize(
    ("name", "updates"), [("pg", 15), ("single", 90), ("picard", 12), ("damped", 40), ("unscaled", 60)]
)
def test_methods_reach_the_equilibrium(name, updates):
    game, players, best = small(GRAPHONS)
    state = run(METHODS[name](game, players), from_zero(game, players), updates)
    assert z_error(game, state, best) < 1e-5
    assert slope_norm(game, state.K - best.K).max() < 1e-5


def test_an_independent_implementation_s_errors_of_the_default_game():
    """Zero start, constant and threshold, after 1, 2, 4, 7 and 13 updates (measured by an independent implementation)."""
    want = {"constant": (9.9e-2, 3.1e-2, 3.0e-3, 9.1e-5, 8.5e-8), "threshold": (1.8e-1, 7.3e-2, 1.1e-2, 7.2e-4, 2.8e-6)}
    slopes = (2.1e-2, 5.5e-4, 3.7e-7, 6.5e-12)
    game, players, best = small(tuple(want), players=50, intervals=100)
    step, state = pg(game, players).update, from_zero(game, players)
    errors, K_errors = [], []
    for _ in range(13):
        state = step(state)
        errors.append(players_norm(game, state.Z - best.Z)[0])  # absolute, as the numbers above
        K_errors.append(slope_norm(game, state.K - best.K).item())
    for i, name in enumerate(want):
        assert [errors[t - 1][i].item() for t in (1, 2, 4, 7, 13)] == pytest.approx(want[name], rel=0.05)
    assert [K_errors[t - 1] for t in (1, 2, 4, 7)] == pytest.approx(slopes, rel=0.05)


def test_with_long_inner_loops_the_outer_factor_is_rho():
    game, players, best = small(GRAPHONS)
    rho = outer_rate(game, players.values)
    step, state, errors = pg(game, players, slope_steps=60, intercept_steps=60).update, from_zero(game, players), []
    for _ in range(9):
        state = step(state)
        errors.append(players_norm(game, state.Z - best.Z)[0])
    torch.testing.assert_close(errors[-1] / errors[-2], rho, atol=1e-3, rtol=0)


def test_negative_control_with_rho_above_one_the_iteration_diverges():
    """Both for the paper's method and for exact best responses: it is the coupling, not the step size."""
    for tracking, peer, converges in ((1.5, 1.5, True), (2.5, 2.0, False)):
        game, players, best = small(("threshold", "constant"), H=tracking, HT=tracking, Ab=peer)
        rho = outer_rate(game, players.values)
        assert bool((rho < 1).all()) is converges and bool((rho > 1).all()) is not converges
        for method in (pg(game, players), picard(game, players)):
            middle = run(method, from_zero(game, players), 20)
            late = run(method, middle, 20)
            growth = players_norm(game, late.Z - best.Z) / players_norm(game, middle.Z - best.Z)
            assert bool((growth < 0.1).all() if converges else (growth > 2).all()), (tracking, growth)


def test_step_sizes_from_one_over_R_on_diverge_and_the_limit_lies_below():
    """1 / R belongs to the bulk of the Hessian's spectrum, 2 R; the exact limit is 2 / lambda_max, lower still far from K*."""
    game, players, best = small(intervals=60)
    spectrum, far = (torch.linalg.eigvalsh(hessian(game, K)[0]) for K in (best.K, torch.zeros_like(best.K)))
    limit, bulk = 2 / spectrum.max().item(), 1 / 0.5
    assert spectrum.median().item() == pytest.approx(2 * 0.5, rel=0.05)
    assert 2 / far.max().item() < limit / 2 < limit < bulk
    start = Policy(best.K, best.G + 1, best.Z)
    sizes = {0.3: True, 0.97 * limit: True, 1.03 * limit: False, bulk: False}
    for size, converges in sizes.items():
        end = run(pg(game, players, slope_steps=0, intercept_steps=400, intercept_step_size=size), start, 1)
        assert bool((end.G - best.G).abs().max() < 1) is converges, size


def test_vanilla_is_natural_where_the_covariance_is_one():
    """v0 = 1 and D chosen so that the covariance stays one under a slope that holds the state where it is."""
    game = Game.scalar(intervals=10, noise=0.0, start_covariance=1.0)
    players = players_on(kernel("unifatt", 4), default_means(4))
    K = torch.full((1, 10, 1, 1), -0.3, dtype=torch.float64)  # A + B K = 0
    state = started(game, players, K, torch.zeros(1, 10, 1, 1, 4, dtype=torch.float64))
    one = {"slope_steps": 1, "intercept_steps": 1}
    torch.testing.assert_close(
        vanilla(game, players, **one).update(state), pg(game, players, **one).update(state), atol=1e-13, rtol=0
    )


def test_unscaled_is_the_method_at_ten_steps_in_time_and_slower_beyond():
    for N, same in ((10, True), (40, False)):
        game, players, _ = small(intervals=N)
        ends = [run(m(game, players), from_zero(game, players), 2).K for m in (unscaled, pg)]
        assert torch.allclose(*ends, atol=1e-12) is same


def test_single_is_the_bilevel_method_with_one_step_each():
    game, players, _ = small()
    start = from_zero(game, players)
    assert torch.equal(
        run(single(game, players), start, 3).G, run(pg(game, players, slope_steps=1, intercept_steps=1), start, 3).G
    )


def test_undamped_is_picard_and_picard_is_pg_with_endless_inner_loops():
    game, players, _ = small()
    start = from_zero(game, players)
    full, half, exact = damped(game, players, damping=1.0), damped(game, players), picard(game, players)
    assert torch.equal(run(full, start, 2).Z, run(exact, start, 2).Z)
    torch.testing.assert_close(half.update(start).Z, (start.Z + exact.update(start).Z) / 2, atol=1e-14, rtol=0)
    long = pg(game, players, slope_steps=120, intercept_steps=120).update(start)
    torch.testing.assert_close(long.Z, exact.update(start).Z, atol=1e-11, rtol=0)


def test_the_naive_slope_feels_the_players_and_the_method_s_does_not():
    game, players, _ = small()
    start = from_zero(game, players)
    other = start._replace(Z=start.Z + 1)
    assert torch.equal(pg(game, players).update(start).K, pg(game, players).update(other).K)
    assert not torch.allclose(naive(game, players).update(start).K, naive(game, players).update(other).K, atol=1e-3)


def test_the_naive_slope_diverges_at_the_method_s_step_size_even_from_beside_the_equilibrium():
    game, players, best = small(players=20, intervals=50)
    beside = Policy(best.K + 0.1, best.G, best.Z)
    assert not run(naive(game, players), beside, 5).K.abs().max() < 10
    assert slope_norm(game, run(naive(game, players, slope_step_size=0.05), beside, 20).K - best.K).item() < 0.05
    assert slope_norm(game, run(pg(game, players), beside, 5).K - best.K).item() < 1e-7


def test_naive_refuses_several_graphons():
    game, players, _ = small(GRAPHONS)
    with pytest.raises(ValueError, match="one graphon"):
        naive(game, players)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_does_the_same_in_modes(name):
    graphons = GRAPHONS[:1] if name == "naive" else GRAPHONS
    game, players, _ = small(graphons)
    sizes = {"slope_step_size": 0.05} if name == "naive" else {}
    K, G = -0.5 + torch.zeros(1, 20, 1, 1).double(), torch.linspace(-1, 1, 160).double().reshape(1, 20, 1, 1, 8)
    G = G.expand(-1, -1, -1, len(graphons), -1)
    want = run(method := METHODS[name](game, players, **sizes), method.init(K, G), 3)
    got = run(turned := METHODS[name](game, players.modes(), **sizes), turned.init(K, players.into(G)), 3)
    torch.testing.assert_close(got.K, want.K, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(players.back(got.G), want.G, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(players.back(got.Z), want.Z, atol=1e-11, rtol=1e-11)


def test_a_row_does_not_notice_the_others_of_its_batch():
    streams, params = Streams("gmfg"), {"intervals": 15, "players": 6}

    def end(seeds, graphons):
        game, players, _ = instance(streams, seeds, params, graphons)
        K, G = initial_slopes(streams, seeds, 15), initial_intercepts(streams, seeds, 15, 6)
        return run(pg(game, players), started(game, players, K, G.expand(-1, -1, -1, len(graphons), -1)), 4)

    many, one = end((500, 501, 502), GRAPHONS), end((501,), ["threshold"])
    torch.testing.assert_close(many.K[1:2], one.K, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(many.Z[1:2, :, :, 1:2], one.Z, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("pg", {"slope_step_size": 0.0}, r"pg: `slope_step_size` must lie in \(0, 1000\], got 0.0"),
        ("pg", {"intercept_steps": -1}, r"pg: `intercept_steps` must lie in \[0, 100000\], got -1"),
        (
            "unscaled",
            {"euclidean_step_size": -3.0},
            r"unscaled: `euclidean_step_size` must lie in \(0, 1e\+06\], got -3.0",
        ),
        ("damped", {"damping": 1.5}, r"damped: `damping` must lie in \(0, 1\], got 1.5"),
        ("naive", {"slope_steps": 0.5}, r"naive: `slope_steps` must be a whole number, got 0.5"),
    ],
)
def test_a_bad_setting_is_refused_in_one_sentence(name, bad, message):
    game, players, _ = small()
    with pytest.raises(SettingError, match=message):
        METHODS[name](game, players, **bad)


def test_random_starts_have_the_declared_moments():
    streams, seeds = Streams("gmfg"), range(500, 700)
    K, G = initial_slopes(streams, seeds, 50), initial_intercepts(streams, seeds, 20, 10)
    error = 4 * 0.5 / np.sqrt(K.numel())
    assert abs(K.mean() + 1) < error and abs(G.mean()) < 4 * 0.5 / np.sqrt(G.numel())
    assert K.std().item() == pytest.approx(0.5, rel=0.03) and G.std().item() == pytest.approx(0.5, rel=0.03)
