"""The samplers' law: literal guesses, importance sampling and subset simulation against plain rejection.

Small problems, where plain rejection (NumPy, written in guesscheck_plain) has thousands of hits. Compared are the
acceptance probability, the posterior mean of L_gen, its second moment and the mean product, each by a two-sample z-test
at 3.7 standard errors (two-sided p 2e-4; a few dozen comparisons leave the whole file a false alarm rate below 1 %).
The errors of subset simulation are those between independent runs, never those of chains. Power is asserted: every
comparison's standard error is small enough that a bias of the stated size is found with probability .95 or more.
"""

import math

import numpy as np
import pytest
import torch
from guesscheck_plain import guesses, losses, small_problem

from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.papers.guesscheck import guessing, importance, subset
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.problem import measured

STREAMS = Streams("guesscheck")
CRITICAL, POWER = 3.7, 1.645  # a bias of (3.7 + 1.645) standard errors is found with probability .95
REJECTION = 400_000


def plain_posterior(network, measurements, target, tolerance, seed):
    """Hits' values (L_gen, L_gen^2, the products) and the acceptance probability with its standard error."""
    rng = np.random.default_rng([seed, 77])
    kept = []
    for _ in range(8):
        y = guesses(rng, REJECTION // 8, network.rows, network.columns, network.depth, network.width,
                    network.activation, network.prior, network.normalised)  # fmt: skip
        train, test = losses(y, measurements, target)
        hit = train < tolerance
        kept.append(np.column_stack([test[hit], test[hit] ** 2, y[hit].reshape(hit.sum(), -1)]))
    kept = np.concatenate(kept)
    p = len(kept) / REJECTION
    return kept, p, math.sqrt(p * (1 - p) / REJECTION)


def same(mine, my_error, theirs, their_error, largest_bias):
    """The z-test, and the power that makes it one."""
    joint = np.hypot(my_error, their_error)
    assert np.all((CRITICAL + POWER) * joint <= largest_bias), f"no power: {joint} against a bias of {largest_bias}"
    assert np.all(np.abs(mine - theirs) <= CRITICAL * joint), f"{mine} and {theirs} differ by more than {joint} allows"


def task_of(measurements, target, count=1, dtype=torch.float64):
    a, w = torch.from_numpy(measurements)[None], torch.from_numpy(target)[None]
    made = measured(a, (a * w[:, None]).sum((2, 3)), w)
    return tree_map(lambda x: x.to(dtype).expand(count, *x.shape[1:]).contiguous(), made)


def walked(method, rounds, until=None):
    with torch.no_grad():
        state = method.init()
        for k in range(rounds):
            state, _ = method.step(state, tree_map(lambda x: x[0], method.draw(k, 1)))
            if until is not None and bool(until(state).all()):
                break
    return state


GUESSED = {
    "linear": (Network(3, 2, 2, 3), 3, 0.04),
    "tanh, uniform prior": (Network(3, 2, 3, 4, "tanh", "uniform"), 2, 0.045),
    "leaky, normalised": (Network(2, 3, 3, 2, "leaky", "gauss", True), 3, 0.011),
    "deep, normalised": (Network(3, 3, 6, 3, "linear", "gauss", True), 4, 0.01),
}


@pytest.mark.parametrize("name", GUESSED)
@pytest.mark.parametrize("fan_out", [1, 4])
def test_literal_guesses(name, fan_out):
    network, count, tolerance = GUESSED[name]
    measurements, target = small_problem(1, count, network.rows, network.columns)
    kept, p, p_error = plain_posterior(network, measurements, target, tolerance, 1)
    assert len(kept) > 1500
    method = guessing.guessing(
        task_of(measurements, target, dtype=torch.float32), network, STREAMS, [701], tolerance=tolerance, batch=40_000,
        fan_out=fan_out,
    )  # fmt: skip
    found = guessing.posterior(walked(method, 10))
    mine = float(found.accepted) / REJECTION
    same(mine, p_error * math.sqrt(fan_out), p, p_error, 0.4 * p)  # prefixes are the independent units
    spread = kept[:, 0].std() / math.sqrt(len(kept))
    same(found.error.item(), found.standard_error.item(), kept[:, 0].mean(), spread, 0.25 * kept[:, 0].mean())
    if fan_out == 1:
        assert found.effective_size.item() == found.accepted.item()
        naive = kept[:, 0].std(ddof=1) / math.sqrt(len(kept))
        assert found.standard_error.item() == pytest.approx(naive, rel=0.1)
    else:
        assert found.effective_size.item() < found.accepted.item()
    products = kept[:, 2:]
    same(
        found.mean[0].flatten().numpy(), products.std(0) / math.sqrt(found.effective_size.item()), products.mean(0),
        products.std(0) / math.sqrt(len(products)), 0.35 * products.std(0),
    )  # fmt: skip


@pytest.mark.parametrize("name", GUESSED)
def test_subset_simulation(name):
    """Means over 48 independent runs, with the spread between them as error."""
    network, count, tolerance = GUESSED[name]
    measurements, target = small_problem(1, count, network.rows, network.columns)
    kept, p, p_error = plain_posterior(network, measurements, target, tolerance, 2)
    runs, chains = 48, 96
    settings = {"burn_in": 2, "kept": 4}
    method = subset.subset(
        task_of(measurements, target, dtype=torch.float32), network, STREAMS, [701], tolerance=tolerance, chains=chains,
        replicates=runs, **settings,
    )  # fmt: skip
    state = walked(method, 60, lambda s: subset.finished(s, **settings))
    assert bool(subset.finished(state, **settings).all())
    total = chains * 4
    z = state.log_acceptance[0].exp().numpy()
    same(z.mean(), z.std(ddof=1) / math.sqrt(runs), p, p_error, 0.3 * p)
    for sums, column, bias in ((state.error, 0, 0.15), (state.square, 1, 0.7)):
        mine = (sums[0] / total).numpy()
        theirs = kept[:, column]
        error = theirs.std() / math.sqrt(len(theirs))
        same(mine.mean(), mine.std(ddof=1) / math.sqrt(runs), theirs.mean(), error, bias * theirs.mean())
    mine = (state.product[0] / total).flatten(1).numpy()
    theirs = kept[:, 2:]
    same(
        mine.mean(0), mine.std(0, ddof=1) / math.sqrt(runs), theirs.mean(0), theirs.std(0) / math.sqrt(len(theirs)),
        0.25 * theirs.std(0),
    )  # fmt: skip
    # What is reported of one seed is these means and this spread.
    found, _ = subset.posterior(state, chains=chains, records=4)
    mine = (state.error[0] / total).numpy()
    assert found.error.item() == pytest.approx(mine.mean())
    assert found.standard_error.item() == pytest.approx(mine.std(ddof=1) / math.sqrt(runs))
    assert found.log10_acceptance.item() == pytest.approx(math.log10(z.mean()))
    assert found.effective_size.item() < runs * total  # chains share ancestors: far fewer than states recorded


WEIGHTED = {
    "linear": (Network(3, 2, 2, 4), 3, 0.03),
    "linear, flat": (Network(2, 3, 2, 6), 4, 0.02),
    "tanh": (Network(3, 2, 2, 5, "tanh"), 3, 0.03),
    "leaky": (Network(2, 3, 2, 6, "leaky"), 3, 0.006),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_importance_sampling(name):
    """Independent weighted draws: their own standard error holds, as the spread over 12 seeds of the streams shows."""
    network, count, tolerance = WEIGHTED[name]
    measurements, target = small_problem(2, count, network.rows, network.columns)
    kept, p, p_error = plain_posterior(network, measurements, target, tolerance, 3)
    assert len(kept) > 1000
    runs = 12
    method = importance.importance(
        task_of(measurements, target, runs), network, STREAMS, range(700, 700 + runs), tolerance=tolerance, batch=2000
    )
    found = importance.posterior(walked(method, 1))
    z, mine = 10 ** found.log10_acceptance.numpy(), found.error.numpy()
    assert (found.effective_size > 200).all()
    same(z.mean(), z.std(ddof=1) / math.sqrt(runs), p, p_error, 0.25 * p)
    error = kept[:, 0].std() / math.sqrt(len(kept))
    same(mine.mean(), mine.std(ddof=1) / math.sqrt(runs), kept[:, 0].mean(), error, 0.2 * kept[:, 0].mean())
    # chi-square of 11 degrees of freedom, .1 % either way: the stated errors are of the right size
    ratio = 11 * (mine.std(ddof=1) ** 2) / (found.standard_error**2).mean().item()
    assert 1.5 < ratio < 33
    products = found.mean.flatten(1).numpy()
    same(
        products.mean(0), products.std(0, ddof=1) / math.sqrt(runs), kept[:, 2:].mean(0),
        kept[:, 2:].std(0) / math.sqrt(len(kept)), 0.35 * kept[:, 2:].std(0),
    )  # fmt: skip


def test_an_infinitely_wide_linear_network_learns_nothing():
    """k -> infinity: entries of Y are independent N(0, 1/5), so what was measured says nothing of the rest, and the
    acceptance probability is that of a Gaussian in a ball."""
    from descent.papers.guesscheck.problem import instance

    task = instance(STREAMS, [710, 711], task="sensing", rank=1, measurements=15)
    method = importance.importance(task, Network(5, 5, 2, 4000), STREAMS, [710, 711], tolerance=0.1, batch=4000)
    found = importance.posterior(walked(method, 1))
    prior = 0.2 + task.answers.square().sum(1) / 10
    assert ((found.error - prior).abs() < 0.01 * prior).all()
    rng = np.random.default_rng(5)
    for s in range(2):
        v = rng.standard_normal((400_000, 25)) / math.sqrt(5) @ task.seen[s].numpy().T
        p = (((v - task.labels[s].numpy()) ** 2).mean(1) < 0.1).mean()
        error = math.sqrt(p / 400_000)
        mine = 10 ** found.log10_acceptance[s].item()
        spread = mine * math.sqrt(1 / found.effective_size[s].item() - 1 / 4000)
        same(mine, spread, p, error, 0.5 * p)


def test_no_hit_is_undefined_and_counted_never_a_number():
    measurements, target = small_problem(1, 4, 3, 3)
    network = Network(3, 3, 2, 3)
    method = guessing.guessing(
        task_of(measurements, target), network, STREAMS, [701], tolerance=1e-9, batch=64, dtype=torch.float64
    )
    found = guessing.posterior(walked(method, 2))
    assert found.accepted.item() == 0 and found.effective_size.item() == 0
    assert math.isnan(found.error.item()) and math.isnan(found.standard_error.item()) and found.mean.isnan().all()
    assert found.log10_acceptance.item() == -math.inf
