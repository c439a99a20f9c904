"""problem.py and factorisation.py: the data, the losses, the products and their prior means."""

import numpy as np
import pytest
import torch
from guesscheck_plain import SIGMA, losses, null_space
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, sampled_from

from descent.core.streams import Streams
from descent.papers.guesscheck.factorisation import Network, chained, top_share
from descent.papers.guesscheck.problem import generalisation_loss, instance, training_loss

STREAMS = Streams("guesscheck")
SEEDS = (700, 701, 702)


@pytest.mark.parametrize(("task", "rank", "count"), [("sensing", 1, 15), ("sensing", 2, 22), ("completion", 1, 15)])
def test_the_directions_held_out_complete_the_measured_ones(task, rank, count):
    made = instance(STREAMS, SEEDS, task=task, rank=rank, measurements=count)
    unseen = made.unseen
    assert unseen.shape == (3, 25 - count, 25) and (torch.linalg.matrix_rank(made.seen) == count).all()
    assert (unseen @ made.seen.mT).abs().max() < 1e-12
    torch.testing.assert_close(
        unseen @ unseen.mT, torch.eye(25 - count, dtype=torch.float64).expand(3, -1, -1), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(made.seen.norm(dim=2), torch.ones(3, count, dtype=torch.float64))
    # |B w|^2 + |P_A w|^2 = |w|^2 = 1
    along = torch.linalg.lstsq(made.seen @ made.seen.mT, made.labels[..., None]).solution[..., 0]
    torch.testing.assert_close(
        made.answers.square().sum(1) + (along * made.labels).sum(1), torch.ones(3, dtype=torch.float64)
    )


def test_the_target_has_the_rank_and_norm_1_and_its_labels():
    from descent.papers.guesscheck.problem import low_rank, sensing

    target = low_rank(STREAMS, SEEDS, 2)
    assert (torch.linalg.matrix_rank(target) == 2).all()
    torch.testing.assert_close(target.norm(dim=(1, 2)), torch.ones(3, dtype=torch.float64))
    made, matrices = instance(STREAMS, SEEDS, task="sensing", rank=2, measurements=22), sensing(STREAMS, SEEDS, 22)
    for s in range(3):
        for i in range(22):
            assert made.labels[s, i].item() == pytest.approx((matrices[s, i] * target[s]).sum().item(), abs=1e-14)


def test_completion_sees_entries_none_twice_and_holds_out_the_others():
    made = instance(STREAMS, SEEDS, task="completion", rank=1, measurements=15)
    assert (made.seen.sum(1) <= 1).all() and (made.seen.sum((1, 2)) == 15).all()
    assert ((made.unseen.abs() > 1e-9).sum(2) == 1).all()


def test_a_seed_has_its_own_world_whatever_its_neighbours():
    whole = instance(STREAMS, SEEDS, task="sensing", rank=1, measurements=15)
    alone = instance(STREAMS, SEEDS[1:2], task="sensing", rank=1, measurements=15)
    for a, b in zip(whole, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, atol=1e-12, rtol=0)


def test_losses_are_those_of_one_matrix_at_a_time():
    made = instance(STREAMS, SEEDS, task="sensing", rank=1, measurements=15)
    from descent.papers.guesscheck.problem import low_rank

    products = torch.randn(3, 5, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    train, test = training_loss(made, products), generalisation_loss(made, products)
    targets = low_rank(STREAMS, SEEDS, 1)
    for s in range(3):
        own = made.seen[s].reshape(15, 5, 5).numpy()
        a, b = losses(products[s].movedim(-1, 0).numpy(), own, targets[s].numpy())
        np.testing.assert_allclose(train[s], a, rtol=1e-12)
        np.testing.assert_allclose(test[s], b, rtol=1e-11)


@settings(max_examples=40, deadline=None)
@given(
    rows=integers(1, 5), columns=integers(1, 5), depth=integers(2, 5), width=integers(1, 6), seed=integers(0, 99),
    activation=sampled_from(("linear", "tanh", "leaky")), prior=sampled_from(("gauss", "uniform")), normalised=booleans(),
)  # fmt: skip
def test_products_are_those_of_a_plain_chain_of_matrices(
    rows, columns, depth, width, activation, prior, normalised, seed
):
    network = Network(rows, columns, depth, width, activation, prior, normalised)
    z = torch.randn(2, sum(network.sizes), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    got = network.product(z)
    assert got.shape == (2, rows, columns, 3)
    for s in range(2):
        for c in range(3):
            h, at = np.eye(rows), 0
            sizes = [rows] + [width] * (depth - 1) + [columns]
            for layer in range(depth):
                r, q = sizes[layer], sizes[layer + 1]
                w = z[s, at : at + r * q, c].numpy().reshape(r, q)
                at += r * q
                if prior == "uniform":
                    w = torch.erf(torch.from_numpy(w) / 2**0.5).numpy()
                h = h @ (w / np.sqrt(q))
                if layer < depth - 1:
                    h = SIGMA[activation](h)
            if normalised:
                h = h / (np.linalg.norm(h) + 1e-6)
            np.testing.assert_allclose(got[s, :, :, c].numpy(), h, rtol=1e-10, atol=1e-12)


def test_signs_of_two_neighbouring_layers_do_not_matter_where_sigma_is_odd():
    for activation in ("linear", "tanh"):
        network = Network(5, 5, 4, 5, activation)
        z = torch.randn(1, 100, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        turned = z.clone()
        turned[:, 25:75] *= -1
        torch.testing.assert_close(network.product(z), network.product(turned), atol=1e-14, rtol=1e-12)


def test_chained_is_a_matrix_product_with_candidates_last():
    h, w = torch.randn(2, 3, 4, 6, dtype=torch.float64), torch.randn(2, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(chained(h, w, 0.5), 0.5 * torch.einsum("sikc,skjc->sijc", h, w))


def test_top_share_is_the_largest_singular_value_over_the_norm():
    y = torch.randn(3, 5, 4, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(y.movedim(-1, 1))
    exact = values[..., 0] / values.norm(dim=-1)
    # Six squarings: two nearly equal singular values are told apart to a few parts in a thousand.
    assert (top_share(y) - exact).abs().max() < 5e-3
    assert (top_share(y) <= exact + 1e-12).all()
    rank_one = torch.einsum("sic,sjc->sijc", y[:, :, 0], y[:, 0])
    torch.testing.assert_close(top_share(rank_one), torch.ones(3, 50, dtype=torch.float64))


# network -> the mean of Y_ij^2 and of Y_ij Y_lj, i != l. Leaky: E sigma(x)^2 = (1 + 0.2^2) / 2, and rows of H share the
# mean E sigma(x) = 0.8 / sqrt(2 pi), so entries of one column of Y are correlated.
PRIOR_MEANS = {
    Network(5, 5, 2, 5): (1 / 5, 0),
    Network(5, 5, 2, 40): (1 / 5, 0),
    Network(5, 5, 2, 7, "leaky"): (0.52 / 5, 0.8**2 / (2 * np.pi) / 5),
    Network(5, 5, 4, 5, normalised=True): (1 / 25, 0),
    Network(5, 5, 2, 5, prior="uniform"): (1 / 45, 0),
}


@pytest.mark.parametrize("network", PRIOR_MEANS)
def test_the_prior_s_mean_test_loss_is_the_exact_one(network):
    from descent.papers.guesscheck.guessing import Noise, guessing, prior

    made = instance(STREAMS, SEEDS, task="sensing", rank=1, measurements=15)
    own, shared = PRIOR_MEANS[network]
    of_column = torch.full((5, 5), float(shared), dtype=torch.float64).fill_diagonal_(own)
    free = made.unseen.unflatten(2, (5, 5))
    spread = torch.einsum("sbij,il,sblj->s", free, of_column, free)
    exact = (spread + made.answers.square().sum(1)) / 10
    method = guessing(made, network, STREAMS, SEEDS, tolerance=0.02, batch=20_000, dtype=torch.float64)
    state, _ = method.step(method.init(), Noise(*(x[0] for x in method.draw(0, 1))))
    mean, error = prior(state, prefixes=20_000)
    assert (error < 0.02 * exact).all()
    assert ((mean - exact).abs() < 4 * error).all()  # four standard errors; a bias of 12 % has power .97 or more


def test_the_plain_null_space_is_the_complement():
    rows = np.random.default_rng(0).standard_normal((4, 9))
    assert np.abs(null_space(rows) @ rows.T).max() < 1e-12 and null_space(rows).shape == (5, 9)
