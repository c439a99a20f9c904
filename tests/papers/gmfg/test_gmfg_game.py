"""The fast game against its slow twin and against finite differences, for scalar and matrix-valued states."""

import numpy as np
import pytest
import torch
from gmfg_reference import matrix_game
from gmfg_worlds import World, tensor, world  # noqa: F401  (world is a fixture)
from hypothesis import given, settings
from hypothesis import strategies as st

from descent.papers.gmfg import Game, best_response, kernel, nash, outer_rate, players_on, population
from descent.papers.gmfg.game import cost, mean_path
from descent.papers.gmfg.graphons import GRAPHONS
from descent.papers.gmfg.intercept import descend, geometric_sum, gradient, hessian
from descent.papers.gmfg.naive_slope import naive_gradient
from descent.papers.gmfg.oracles import riccati
from descent.papers.gmfg.recursions import propagator, quadratic_recursion, recursion
from descent.papers.gmfg.slope import cost_to_go, covariance, natural_gradient, plain_gradient

close = lambda a, b, atol=1e-11: torch.testing.assert_close(a, tensor(b), atol=atol, rtol=1e-9)  # noqa: E731


@settings(max_examples=30, deadline=None, derandomize=True)
@given(N=st.integers(1, 40), n=st.integers(1, 3), c=st.sampled_from([1, 2, 3, 256]), seed=st.integers(0, 99))
def test_composing_neighbours_is_stepping_one_by_one(N, n, c, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)  # noqa: E731
    F, b, x = draw(2, N, n, n) / n, draw(2, N, n, c), draw(2, n, c)
    got, want = recursion(F, b, x), [x]
    for k in range(N):
        want.append(F[:, k] @ want[-1] + b[:, k])
    torch.testing.assert_close(got, torch.stack(want, 1), atol=1e-9, rtol=1e-9)
    got, want = recursion(F, b, x, backward=True), [x]
    for k in reversed(range(N)):
        want.append(F[:, k] @ want[-1] + b[:, k])
    torch.testing.assert_close(got, torch.stack(want[::-1], 1), atol=1e-9, rtol=1e-9)
    b, X = draw(2, N, n, n), draw(2, n, n)
    got, want = quadratic_recursion(F, b, X), [X]
    for k in range(N):
        want.append(F[:, k] @ want[-1] @ F[:, k].mT + b[:, k])
    torch.testing.assert_close(got, torch.stack(want, 1), atol=1e-9, rtol=1e-9)


def test_the_propagator_is_the_product_of_the_steps_between():
    F = torch.randn(3, 6, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    T = propagator(F).reshape(3, 7, 2, 7, 2)
    for k in range(7):
        for j in range(7):
            want = (
                torch.eye(2, dtype=torch.float64).expand(3, 2, 2)
                if j <= k
                else torch.zeros(3, 2, 2, dtype=torch.float64)
            )
            for i in range(j, k):
                want = F[:, i] @ want
            torch.testing.assert_close(T[:, k, :, j], want, atol=1e-12, rtol=0)


def test_paths_and_costs_equal_the_slow_twin_s(world):  # noqa: F811
    r, (K, G, Z) = world.reference, world.tensors
    close(covariance(world.game, K)[0], r.covariance(world.K))
    close(mean_path(world.game, K, G, Z, world.players.start)[0, :, :, 0], r.mean(world.K, world.G, world.Z, world.mu0))
    paid = cost(world.game, K, G, Z, world.players.start, covariance(world.game, K))
    close(paid[0, 0], r.cost(world.K, world.G, world.Z, world.mu0))
    made = population(world.game, world.players, K, G)
    close(made[0, :, :, 0], r.population(world.K, world.G, world.W, world.mu0))


def test_gradients_equal_the_slow_twin_s(world):  # noqa: F811
    r, (K, G, Z) = world.reference, world.tensors
    close(natural_gradient(world.game, K)[0], r.slope_gradient(world.K))
    want = r.intercept_gradient(world.K, world.G, world.Z, world.mu0)
    close(gradient(world.game, K, G, Z, world.players.start)[0][0, :, :, 0], want)
    at_zero, _ = gradient(world.game, K, torch.zeros_like(G), Z, world.players.start)
    answer = (hessian(world.game, K) @ G.flatten(1, 2).flatten(2)).reshape(G.shape)
    close((answer + at_zero)[0, :, :, 0], want)


@pytest.mark.parametrize("players", [5, 30])  # fewer and more than steps in time
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 10])
def test_steps_taken_at_once_are_steps_taken_one_by_one(world, players, steps):  # noqa: F811
    crowd = World(world.reference, players)
    K, G, Z = crowd.tensors
    want = G
    for _ in range(steps):
        want = want - 0.1 * gradient(crowd.game, K, want, Z, crowd.players.start)[0]
    got = descend(crowd.game, K, Z, crowd.players.start, G, 0.1, steps)
    torch.testing.assert_close(got, want, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("terms", range(1, 40))
def test_a_geometric_sum_is_its_terms(terms):
    H = 0.3 * torch.randn(2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(terms))
    power, want = torch.eye(4, dtype=torch.float64).expand(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.float64)
    for _ in range(terms):
        want, power = want + power, power - H @ power
    torch.testing.assert_close(geometric_sum(H, terms), want, atol=1e-9, rtol=1e-9)


def test_a_population_is_the_same_in_modes(world):  # noqa: F811
    (K, G, _), players = world.tensors, world.players
    modes = players.modes()
    assert modes.vectors is None and modes.modes().start is modes.start
    turned = population(world.game, modes, K, players.into(G))
    torch.testing.assert_close(players.back(turned), population(world.game, players, K, G), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(players.back(players.into(G)), G, atol=1e-13, rtol=1e-13)
    torch.testing.assert_close(turned.square().sum(-1), players.back(turned).square().sum(-1), atol=1e-12, rtol=1e-12)
    # A diagonal kernel is one whose eigenvectors are the unit vectors: what sees the kernel sees the same game.
    again = players_on(modes.kernel, modes.start)
    torch.testing.assert_close(population(world.game, again, K, players.into(G)), turned, atol=1e-12, rtol=1e-12)


def _differences(f, x, h=1e-5):
    """Central differences of f (one number a player) at every entry of x, (*x.shape, players)."""
    rows = []
    for index in np.ndindex(*x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += h
        behind[index] -= h
        rows.append((f(ahead) - f(behind)) / (2 * h))
    return np.array(rows).reshape(*x.shape, -1)


def test_gradients_are_central_differences_of_the_cost_by_dt(world):  # noqa: F811
    """The slope's total derivative is E Sigma + gG mu', of which the method keeps the first part."""
    r, (K, G, Z), dt = world.reference, world.tensors, world.reference.dt
    by_slope = _differences(lambda K: r.cost(K, world.G, world.Z, world.mu0), world.K) / dt
    by_intercept, mu = gradient(world.game, K, G, Z, world.players.start)
    mean_part = torch.einsum("tkm,tnm->tknm", by_intercept[0, :, :, 0], mu[0, :-1, :, 0])
    close(plain_gradient(world.game, K)[0, ..., None] + mean_part, by_slope, atol=1e-7)
    everyone = _differences(lambda G: r.cost(world.K, G, world.Z, world.mu0), world.G) / dt
    own = np.einsum("tkmm->tkm", everyone)
    close(by_intercept[0, :, :, 0], own, atol=1e-7)
    assert np.abs(everyone).sum() == pytest.approx(
        np.abs(own).sum(), rel=1e-9
    )  # a frozen Z carries nobody else's intercept


def test_the_naive_slope_is_the_whole_derivative_of_the_mean_cost(world):  # noqa: F811
    r, (K, G, Z) = world.reference, world.tensors
    whole = _differences(lambda K: r.cost(K, world.G, world.Z, world.mu0), world.K).mean(-1) / r.dt
    close(
        (naive_gradient(world.game, K, G, Z, world.players.start) @ covariance(world.game, K)[:, :-1])[0],
        whole,
        atol=1e-7,
    )


def test_the_cost_to_go_prices_a_start(world):  # noqa: F811
    """tr(P_0 v0) and the noise's share are the covariance part of the cost."""
    K, v = world.tensors[0], world.game.start_covariance
    P = cost_to_go(world.game, K)[0]
    noise = world.game.dt * world.game.noise @ world.game.noise.mT
    priced = torch.trace(P[0] @ v) + sum(torch.trace(P[k + 1] @ noise) for k in range(world.game.intervals))
    zero = torch.zeros_like(world.players.start)
    nothing = [torch.zeros_like(x) for x in world.tensors[1:]]
    paid = cost(world.game, K, *nothing, zero, covariance(world.game, K))
    assert priced.item() == pytest.approx(paid[0, 0, 0].item(), rel=1e-12)


def test_the_best_response_has_no_gradient_and_no_better_neighbour(world):  # noqa: F811
    _, _, Z = world.tensors
    K = riccati(world.game).K[None]
    G = best_response(world.game, Z[:, :, :, 0])[:, :, :, None]
    assert natural_gradient(world.game, K).abs().max() < 1e-11
    assert gradient(world.game, K, G, Z, world.players.start)[0].abs().max() < 1e-11
    best = cost(world.game, K, G, Z, world.players.start, covariance(world.game, K))
    generator = torch.Generator().manual_seed(5)
    for _ in range(10):
        other = [x + 0.01 * torch.randn(x.shape, dtype=torch.float64, generator=generator) for x in (K, G)]
        assert (cost(world.game, *other, Z, world.players.start, covariance(world.game, other[0])) > best).all()


def test_the_equilibrium_answers_itself(world):  # noqa: F811
    K, G, Z = nash(world.game, world.players)
    close(G[0, :, :, 0], best_response(world.game, Z[0, :, :, 0]))
    close(
        Z[0, :, :, 0], world.reference.population(K[0].numpy(), G[0, :, :, 0].numpy(), world.W, world.mu0), atol=1e-10
    )


def test_the_outer_rate_is_that_of_iterated_best_responses(world):  # noqa: F811
    """The slow way: the linear map Z -> population(K*, BR(Z)) built column by column."""
    N, n, M = world.game.intervals, world.game.n, len(world.W)
    K = riccati(world.game).K[None]
    silent = players_on(tensor(world.W), torch.zeros(1, n, M, dtype=torch.float64))
    columns = []
    for unit in torch.eye((N + 1) * n * M, dtype=torch.float64):
        G = best_response(world.game, unit.reshape(1, N + 1, n, M))[:, :, :, None]
        columns.append(population(world.game, silent, K, G).flatten())
    want = torch.linalg.eigvals(torch.stack(columns, 1)).abs().max().item()
    assert outer_rate(world.game, world.players.values).item() == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("name", GRAPHONS)
def test_graphons_are_symmetric_positive_and_divided_by_the_players(name):
    W = kernel(name, 12)
    assert torch.equal(W, W.mT) and (W >= 0).all() and W.isfinite().all()
    x, y = (3 + 0.5) / 12, (7 + 0.5) / 12
    want = {
        "constant": 0.5, "minmax": min(x, y) * (1 - max(x, y)), "unifatt": 1 - max(x, y), "threshold": float(x + y < 1),
        "cosine": 0.5 * (1 + np.cos(2 * np.pi * (x - y))), "sbm": 0.2, "powerlaw": 0.25 * (x * y) ** -0.25,
    }[name]  # fmt: skip
    assert W[3, 7].item() == pytest.approx(want / 12, rel=1e-13)


def test_the_threshold_graphon_is_one_half_on_its_line():
    W = kernel("threshold", 50) * 50
    assert torch.equal(W.flip(1).diagonal(), torch.full((50,), 0.5, dtype=torch.float64))


def test_a_graphon_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="symmetric"):
        players_on(torch.tensor([[0.1, 0.2], [0.3, 0.1]], dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))


def test_a_second_state_that_nothing_moves_changes_nothing():
    """The scalar game inside a two-dimensional one: plain products and matrix products agree."""
    one = World(matrix_game(1, 1, N=5))
    wider = lambda x: torch.nn.functional.pad(x, (0, 1, 0, 1))  # noqa: E731
    blocks = {name: wider(getattr(one.game, name)) for name in ("A", "B", "Ab", "H", "HT", "noise")}
    unit = torch.diag(tensor([0.0, 1.0]))
    blocks |= {name: wider(getattr(one.game, name)) + unit for name in ("Q", "R", "QT", "start_covariance")}
    wide, K = Game(**blocks, intervals=5), one.tensors[0]
    torch.testing.assert_close(
        natural_gradient(wide, wider(K))[..., :1, :1], natural_gradient(one.game, K), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(riccati(wide).K[..., :1, :1], riccati(one.game).K, atol=1e-12, rtol=0)
