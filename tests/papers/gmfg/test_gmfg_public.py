"""solve: the bits of the study's step, any graphon, any dtype; exploitability from plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gmfg_reference import Reference
from gmfg_worlds import game_like, tensor

from descent.core.streams import Streams
from descent.papers import gmfg
from descent.papers.gmfg.graphons import midpoints
from descent.papers.gmfg.model_free import keys, simulated_population

M, N = 7, 9
W = lambda x, y: torch.exp(-3 * (x - y).abs())  # noqa: E731
MEANS = lambda x: 1 + x  # noqa: E731


def zeros(rows=1, columns=(1, M)):
    like = {"dtype": torch.float64}
    return torch.zeros(rows, N, 1, 1, **like), torch.zeros(rows, N, 1, *columns, **like)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("pg", {}),
        ("vanilla", {}),
        ("single", {}),
        ("picard", {}),
        ("damped", {}),
        ("naive", {"slope_step_size": 0.05, "intercept_step_size": 0.05}),
        ("unscaled", {}),
    ],
)
def test_solve_is_the_study_s_step_to_the_bit(method, settings):
    game = gmfg.Game.scalar(intervals=N)
    x = midpoints(M)
    crowd = gmfg.players_on(W(x[:, None], x[None]) / M, MEANS(x)[None])
    chosen = getattr(gmfg, method)(game, crowd.modes(), **settings)  # as the study runs it
    policy = chosen.init(*zeros())
    for _ in range(3):
        policy, _ = chosen.step(policy, None)
    own = gmfg.solve(
        game, W, players=M, start=MEANS, steps=3, method=method, lr=settings.get("slope_step_size"), dtype=torch.float64
    )
    assert (
        torch.equal(own.K, policy.K[0])
        and torch.equal(own.G, crowd.back(policy.G)[0, :, :, 0])
        and torch.equal(own.Z, crowd.back(policy.Z)[0, :, :, 0])
    )


def test_sampled_is_the_study_s_step_on_the_same_streams():
    game, streams, seeds = gmfg.Game.scalar(intervals=N), Streams("gmfg"), (4, 8)
    x = midpoints(M)
    simulated = gmfg.world(game, W(x[:, None], x[None]) / M, MEANS(x).expand(2, 1, M))
    chosen = gmfg.sampled(simulated, particles=16, slope_steps=2, intercept_steps=3).seeded(streams, seeds)
    K, G = (y[None] for y in zeros(2, (M,)))
    state = chosen.init(K, G, simulated_population(simulated, K, G, keys(streams, seeds, "start"), 16))
    for k in range(2):
        state, _ = chosen.step(state, chosen.draw(k, 1)[0])
    two = gmfg.solve(
        game,
        W,
        players=M,
        start=MEANS,
        steps=2,
        method="sampled",
        particles=16,
        inner=2,
        seed=seeds,
        dtype=torch.float64,
    )
    again = gmfg.sampled(simulated, particles=16, slope_steps=2, intercept_steps=2).seeded(streams, seeds)
    state = again.init(K, G, simulated_population(simulated, K, G, keys(streams, seeds, "start"), 16))
    for k in range(2):
        state, _ = again.step(state, again.draw(k, 1)[0])
    assert torch.equal(two.K, state.K[0]) and torch.equal(two.G, state.G[0]) and torch.equal(two.Z, state.Z[0])


def test_exploitability_is_what_a_player_saves_by_plain_loops():
    r = Reference(N=N)
    game, rng = game_like(r), np.random.default_rng(2)
    kernel, mu0 = rng.random((M, M)) / M, rng.standard_normal((1, M))
    kernel = (kernel + kernel.T) / 2
    K, G = 0.4 * rng.standard_normal((N, 1, 1)) - 1, rng.standard_normal((N, 1, M))
    Z = r.population(K, G, kernel, mu0)
    crowd = gmfg.players_on(tensor(kernel), tensor(mu0)[None])
    best = K.copy(), G.copy()
    for _ in range(80):  # the best response by its own descent, written out
        best = best[0] - 0.6 * r.slope_gradient(best[0]), best[1]
    for _ in range(80):
        best = best[0], best[1] - 0.6 * r.intercept_gradient(best[0], best[1], Z, mu0)
    want = (r.cost(K, G, Z, mu0) - r.cost(*best, Z, mu0)).mean()
    got = gmfg.exploitability(game)(
        tensor(K)[None], tensor(G)[None, :, :, None], tensor(Z)[None, :, :, None], crowd.start
    )
    assert want > 0.05 and float(got) == pytest.approx(want, rel=1e-8)


def test_a_function_a_matrix_and_a_name_are_the_same_graphon():
    x = midpoints(M)
    given = {"players": M, "start": MEANS, "steps": 2, "dtype": torch.float64}
    game = gmfg.Game.scalar(intervals=N)
    found = [
        gmfg.solve(game, g, **given).Z
        for g in ("unifatt", lambda a, b: 1 - torch.maximum(a, b), 1 - torch.maximum(x[:, None], x[None]))
    ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])


def test_it_ends_at_the_oracle_s_equilibrium_and_says_the_rate():
    game = gmfg.Game.scalar(A=0.2, Ab=0.5, H=0.9, intervals=20)
    found = gmfg.solve(game, W, players=M, start=MEANS, steps=40, dtype=torch.float64)
    x = midpoints(M)
    crowd = gmfg.players_on(W(x[:, None], x[None]) / M, MEANS(x)[None])
    best = gmfg.nash(game, crowd)
    torch.testing.assert_close(found.Z, best.Z[0, :, :, 0], atol=1e-10, rtol=1e-9)
    assert found.rate == pytest.approx(float(gmfg.outer_rate(game, crowd.values)))
    assert (
        found.exploitability.shape == (41,) and found.exploitability[0] > 0.1 and abs(found.exploitability[-1]) < 1e-12
    )
    assert (found.exploitability > -1e-12).all() and found.history["change"][0] == 0 and not found.diverged


def test_coupling_beyond_one_is_said_and_divergence_never_raised():
    game = gmfg.Game.scalar(Ab=2.0, H=2.5, HT=2.5, intervals=N)
    found = gmfg.solve(game, "threshold", players=M, start=MEANS, steps=30, dtype=torch.float64)
    assert found.rate > 1 and found.exploitability[-1] > found.exploitability[5]
    assert gmfg.solve(gmfg.Game.scalar(intervals=N), W, players=M, start=MEANS, steps=60, lr=900.0).diverged


def test_float32_is_the_rounded_result_and_what_is_given_stays():
    game, start = gmfg.Game.scalar(intervals=N), torch.linspace(1, 2, M)
    kept = start.clone()
    single, double = (gmfg.solve(game, W, players=M, start=x, steps=3) for x in (start, start.double()))
    assert single.K.dtype == single.exploitability.dtype == torch.float32 and double.G.dtype == torch.float64
    torch.testing.assert_close(single.G.double(), double.G, atol=1e-6, rtol=1e-5)
    assert torch.equal(start, kept)


def test_a_callback_sees_every_update_and_can_stop():
    seen = []

    def watch(step, metrics):
        seen.append((step, float(metrics["exploitability"])))
        if step == 3:
            raise StopIteration

    found = gmfg.solve(
        gmfg.Game.scalar(intervals=N), W, players=M, start=MEANS, steps=10, callback=watch, dtype=torch.float64
    )
    assert [s for s, _ in seen] == [1, 2, 3] and found.exploitability.shape == (4,)
    assert seen[-1][1] == float(found.exploitability[-1])


def test_matrix_valued_states_and_actions():
    from gmfg_reference import matrix_game

    r = matrix_game(2, 1, N=6)
    start = torch.stack([torch.linspace(0, 1, 4), torch.linspace(1, 0, 4)]).double()
    found = gmfg.solve(game_like(r), lambda x, y: 0.2 + 0 * x * y, players=4, start=start, steps=2, inner=3, lr=0.05)
    K, G, _ = r.bilevel(
        np.zeros((6, 1, 2)), np.zeros((6, 1, 4)), np.full((4, 4), 0.05), start.numpy(), 2, inner=3, eta=0.05
    )
    np.testing.assert_allclose(found.K, K, atol=1e-12)
    np.testing.assert_allclose(found.G, G, atol=1e-12)
