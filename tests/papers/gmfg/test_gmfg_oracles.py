"""The numbers and invariants of the discretised game (docs/papers/gmfg.md), one named test each."""

import math

import pytest
import torch

from descent.papers.gmfg import Game, kernel, nash, outer_rate, pg, players_on, population
from descent.papers.gmfg.game import cost, mean_path
from descent.papers.gmfg.graphons import GRAPHONS
from descent.papers.gmfg.instances import default_means, players_norm, slope_norm
from descent.papers.gmfg.intercept import gradient
from descent.papers.gmfg.oracles import riccati
from descent.papers.gmfg.policy_gradient import started
from descent.papers.gmfg.slope import covariance, natural_gradient

f64 = lambda x: torch.tensor(x, dtype=torch.float64)  # noqa: E731
RATES = {
    "constant": 0.2941,
    "minmax": 0.0568,
    "unifatt": 0.2357,
    "threshold": 0.3808,
    "cosine": 0.2941,
    "sbm": 0.2941,
    "powerlaw": 0.2808,
}


@pytest.fixture(scope="module")
def default():
    """The default game on unifatt: game, players, equilibrium."""
    game, players = Game.scalar(), players_on(kernel("unifatt", 50), default_means(50))
    return game, players, nash(game, players)


@pytest.mark.parametrize(
    ("N", "K0"), [(50, -1.7325974353), (100, -1.7455879266), (200, -1.7521343667), (400, -1.7554204878)]
)
def test_the_first_slope_of_the_optimum(N, K0):
    assert riccati(Game.scalar(intervals=N)).K[0].item() == pytest.approx(K0, abs=1e-10)


def test_the_first_slope_tends_to_the_continuous_riccati_equation_s():
    A, B, Q, R, steps = 0.3, 1.0, 1.0, 0.5, 2000
    P, h = 1.0, 1.0 / 2000

    def slope(P):
        return 2 * A * P - B**2 * P**2 / R + Q

    for _ in range(steps):  # Runge-Kutta backwards from P(T) = QT
        a = slope(P)
        b = slope(P + h / 2 * a)
        c = slope(P + h / 2 * b)
        P += h / 6 * (a + 2 * b + 2 * c + slope(P + h * c))
    assert pytest.approx(-1.7587152488, abs=1e-9) == -B * P / R
    gaps = [riccati(Game.scalar(intervals=N)).K[0].item() + B * P / R for N in (100, 200, 400)]
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.03) and gaps[1] / gaps[2] == pytest.approx(2, abs=0.02)


def test_the_default_equilibrium_s_norms_cost_and_aggregates(default):
    game, players, (K, G, Z) = default
    assert slope_norm(game, K).item() == pytest.approx(1.8088593589, abs=1e-10)
    assert players_norm(game, G).item() == pytest.approx(0.1973955871, abs=1e-10)
    assert players_norm(game, Z).item() == pytest.approx(0.2970387184, abs=1e-10)
    assert cost(game, K, G, Z, players.start, covariance(game, K)).mean().item() == pytest.approx(
        1.4255226409, abs=1e-10
    )
    nodes = [0, 25, 49]
    torch.testing.assert_close(Z[0, 0, 0, 0, nodes], f64([0.65925971, 0.44644466, 0.01]), atol=5e-9, rtol=0)
    torch.testing.assert_close(Z[0, -1, 0, 0, nodes], f64([0.23301866, 0.15927777, 0.00357276]), atol=5e-9, rtol=0)


def test_gradients_vanish_at_the_equilibrium_and_it_makes_its_own_population(default):
    game, players, (K, G, Z) = default
    assert natural_gradient(game, K).abs().max() < 1e-12
    assert gradient(game, K, G, Z, players.start)[0].abs().max() < 1e-12
    assert (population(game, players, K, G) - Z).abs().max() < 1e-12


def test_the_tiny_game_worked_by_hand():
    game = Game.scalar(intervals=2)
    players = players_on(f64([[0.3, 0.1], [0.1, 0.2]]), f64([[1.0, 2.0]]))
    K, G, Z = (
        f64([-1, -0.5]).reshape(1, 2, 1, 1),
        torch.zeros(1, 2, 1, 1, 2).double(),
        torch.ones(1, 3, 1, 1, 2).double(),
    )
    exact = {"atol": 1e-14, "rtol": 0}
    torch.testing.assert_close(natural_gradient(game, K).flatten(), f64([0.78425, 1.3]), **exact)
    torch.testing.assert_close(covariance(game, K).flatten(), f64([0.25, 0.150625, 0.16700625]), **exact)
    mu = mean_path(game, K, G, Z, players.start)
    torch.testing.assert_close(mu[0, :, 0, 0], f64([[1, 2], [0.85, 1.5], [0.965, 1.55]]), **exact)
    by_adjoint = gradient(game, K, G, Z, players.start)[0]
    torch.testing.assert_close(by_adjoint[0, :, 0, 0], f64([[-0.54675, 0.2375], [-0.095, 0.75]]), **exact)
    paid = cost(game, K, G, Z, players.start, covariance(game, K))
    torch.testing.assert_close(paid[0, 0], f64([0.7828640625, 3.1073578125]), **exact)


def _costs(game, players, K, G, Z):
    return cost(game, K, G, Z, players.start, covariance(game, K))[0, 0]


@pytest.mark.parametrize("step", [0, 9, 19])
def test_central_differences_of_the_cost_are_the_gradients(step):
    torch.manual_seed(4)
    game, h = Game.scalar(intervals=20), 1e-5
    players = players_on(kernel("sbm", 6), default_means(6))
    K = -1 + 0.5 * torch.randn(1, 20, 1, 1, dtype=torch.float64)
    G, Z = torch.randn(1, 20, 1, 1, 6, dtype=torch.float64), torch.randn(1, 21, 1, 1, 6, dtype=torch.float64)
    at = torch.zeros_like(K)
    at[0, step] = h
    slope = (_costs(game, players, K + at, G, Z) - _costs(game, players, K - at, G, Z)) / (2 * h * game.dt)
    one = torch.zeros_like(G)
    one[0, step] = h
    intercept = (_costs(game, players, K, G + one, Z) - _costs(game, players, K, G - one, Z)) / (2 * h * game.dt)
    by_intercept, mu = gradient(game, K, G, Z, players.start)
    own = (natural_gradient(game, K) * covariance(game, K)[:, :-1])[0, step]
    torch.testing.assert_close(slope, (own + by_intercept * mu[:, :-1])[0, step, 0, 0].flatten(), atol=1e-7, rtol=0)
    torch.testing.assert_close(intercept, by_intercept[0, step, 0, 0], atol=1e-7, rtol=0)


def test_slopes_are_the_same_for_all_graphons_and_players():
    game, slopes = Game.scalar(intervals=20), []
    start = -1 + 0.5 * torch.randn(1, 20, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name in GRAPHONS:
        players = players_on(kernel(name, 8), default_means(8))
        step = pg(game, players).update
        state = started(game, players, start, torch.zeros(1, 20, 1, 1, 8, dtype=torch.float64))
        for _ in range(3):
            state = step(state)
        slopes.append(state.K)
        assert state.K.shape == (1, 20, 1, 1)  # no axis for graphons or players: there is nothing that could differ
    assert all(torch.equal(slopes[0], K) for K in slopes)


def test_the_covariance_knows_neither_intercepts_nor_aggregates():
    """Simulated, since the function takes neither: runs of one policy with other G and Z spread the same."""
    game = Game.scalar(intervals=5)
    K = f64([-1.0, -0.4, -1.2, -0.7, -1.1]).reshape(1, 5, 1, 1)
    generator = torch.Generator().manual_seed(1)
    xi = torch.randn(5, 200_000, dtype=torch.float64, generator=generator)
    start = 0.5 * torch.randn(200_000, dtype=torch.float64, generator=generator)
    spreads = []
    for G, Z in ((0.0, 0.0), (3.0, -2.0)):
        x = 1 + start
        for k in range(5):
            x = x + game.dt * (0.3 * x + K[0, k, 0, 0] * x + G + 0.4 * Z) + math.sqrt(game.dt) * 0.3 * xi[k]
        spreads.append(x.var())
    assert spreads[0].item() == pytest.approx(spreads[1].item(), rel=1e-12)
    assert spreads[0].item() == pytest.approx(covariance(game, K)[0, -1].item(), rel=4 * math.sqrt(2 / 200_000))


def test_without_a_graphon_the_game_decouples():
    game = Game.scalar(intervals=20)
    K, G, Z = nash(game, players_on(torch.zeros(6, 6, dtype=torch.float64), default_means(6)))
    assert G.abs().max() == 0 and Z.abs().max() == 0
    assert torch.equal(K[0], riccati(game).K)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("unifatt", 4 / math.pi**2), ("threshold", 2 / math.pi), ("minmax", 1 / math.pi**2), ("constant", 0.5)],
)
def test_the_largest_eigenvalue_tends_to_the_operator_s(name, limit):
    gaps = [abs(torch.linalg.eigvalsh(kernel(name, M)).abs().max().item() - limit) for M in (50, 200)]
    assert gaps[1] < 2e-3 and (gaps[1] < gaps[0] / 3 or gaps[0] < 1e-12)


@pytest.mark.parametrize("name", GRAPHONS)
def test_the_outer_rate_of_the_default_game(name):
    players = players_on(kernel(name, 50), default_means(50))
    assert outer_rate(Game.scalar(), players.values).item() == pytest.approx(RATES[name], abs=5e-5)


@pytest.mark.parametrize(
    ("tracking", "peer", "rates"),
    [
        (0.8, 0.4, (0.2353, 0.3802, 0.2936)),
        (1.5, 1.5, (0.4435, 0.7802, 0.5726)),
        (2.5, 2.0, (0.8349, 1.5412, 1.0986)),
    ],
)
def test_the_outer_rate_of_the_coupled_games(tracking, peer, rates):
    game = Game.scalar(intervals=60, H=tracking, HT=tracking, Ab=peer)
    values = torch.stack([torch.linalg.eigvalsh(kernel(name, 30)) for name in ("unifatt", "threshold", "constant")])
    torch.testing.assert_close(outer_rate(game, values), f64(rates), atol=5e-5, rtol=0)
