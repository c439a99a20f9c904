"""`fit`: the research step on the same streams, seeds as an axis, dtypes, refusals, nothing of the user's changed."""

import inspect
import math
import random

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.papers import kpgsivi
from descent.papers.kpgsivi.public import OFFERED, OwnTarget, fit
from descent.papers.kpgsivi.targets import Banana


def bent(z):
    return -0.5 * (z[:, 0] ** 2 / 4 + (z[:, 1] - z[:, 0] ** 2 / 4) ** 2 / 0.25)


def bent_score(z):
    off = (z[:, 1] - z[:, 0] ** 2 / 4) / 0.25
    return torch.stack([-z[:, 0] / 4 + off * z[:, 0] / 2, -off], -1)


SMALL = {"dim": 2, "steps": 12, "batch": 8, "hidden": 8}


@pytest.mark.parametrize("method", OFFERED)
def test_it_is_the_research_step_bit_for_bit(method):
    got = fit(bent, method=method, seed=[500, 501], lr=0.01, log_variance=-1.0, **SMALL)
    problem = kpgsivi.Problem(OwnTarget(bent, 2, None), kpgsivi.Family(3, 8, 2), (500, 501), Streams("kpgsivi"))
    built = getattr(kpgsivi, method)(problem, batch=8, step_size=0.01, decay=0.9, decay_every=1)
    state, noise = built.init(problem.start(-1.0)), built.draw(0, 12)
    with torch.no_grad():
        for i in range(12):
            state, _ = built.step(state, tree_map(lambda x, i=i: x[i], noise))
    assert torch.equal(got.posterior.parameters, state.params)


def test_it_fits():
    got = fit(bent, 2, steps=1500, lr=5e-3)
    divergence = got.history["divergence"] + math.log(2 * math.pi)  # the normaliser of log p is 2 pi 2 .5
    assert -0.05 < float(divergence[-1]) < 0.3 < float(divergence[0]) and not got.diverged
    z = got.posterior.sample((4000,))
    x = z[:, 0]
    assert 1.2 < float(x.std()) < 2.4
    assert abs(float((z[:, 1] - x**2 / 4).mean())) < 0.2  # the curve is found


@pytest.mark.parametrize("method", ["kpg", "kpgis", "ksivi"])
def test_several_seeds_are_their_single_runs(method):
    both = fit(bent, method=method, seed=(3, 4), dtype=torch.float64, **SMALL)
    one = fit(bent, method=method, seed=4, dtype=torch.float64, **SMALL)
    assert_close(both.posterior.parameters[1], one.posterior.parameters, atol=1e-9, rtol=1e-9)
    assert both.posterior.sample((5, 3)).shape == (2, 5, 3, 2) and one.posterior.sample((5, 3)).shape == (5, 3, 2)
    assert_close(both.posterior.sample((7,))[1], one.posterior.sample((7,)), atol=1e-9, rtol=1e-9)
    assert both.history["divergence"].shape == (len(both.history["step"]), 2)
    assert one.history["divergence"].shape == one.history["step"].shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept_and_the_density_is_the_familys(dtype):
    got = fit(bent, dtype=dtype, **SMALL)
    z = got.posterior.sample((50,))
    assert z.dtype == got.posterior.log_prob(z).dtype == dtype
    side = torch.linspace(-8, 8, 161, dtype=dtype)
    density = got.posterior.log_prob(torch.cartesian_prod(side, side), components=300).exp()
    assert float(density.sum()) * 0.01 == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("method", ["kpg", "ksivi", "sivism"])
def test_a_score_of_ones_own_gives_the_same_run(method):
    by_autograd = fit(bent, method=method, dtype=torch.float64, **SMALL)
    given = fit(bent, method=method, score=bent_score, dtype=torch.float64, **SMALL)
    assert_close(by_autograd.posterior.parameters, given.posterior.parameters, atol=1e-8, rtol=1e-8)


def test_autograd_target_is_the_closed_one():
    banana = Banana(dtype=torch.float64)
    own = OwnTarget(lambda z: banana.log_prob(z[None])[0], 2, None)
    z, v = torch.randn(2, 3, 5, 2, dtype=torch.float64)
    assert_close(own.score(z), banana.score(z))
    assert_close(own.score_pull(z, v), banana.score_pull(z, v))


def test_callback_sees_the_run_and_may_end_it():
    seen = []

    def watch(step, metrics):
        seen.append(step)
        assert set(metrics) == {"divergence", "log_scale"} and metrics["divergence"].ndim == 0
        if step >= 6:
            raise StopIteration

    got = fit(bent, callback=watch, **SMALL)
    assert seen[-1] == 6 == int(got.history["step"][-1])
    assert_close(got.posterior.parameters, fit(bent, **SMALL | {"steps": 6}).posterior.parameters, atol=5e-3, rtol=0)


def test_divergence_is_said_and_not_raised():
    got = fit(lambda z: (z.sum(-1) - 100).sqrt(), **SMALL)
    assert got.diverged.dtype == torch.bool and bool(got.diverged)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dim": 0}, "`dim` must be a whole number of at least 1, got 0"),
        ({"method": "kgp"}, r"`method` must be .* got 'kgp' \(did you mean `kpg`\?\)"),
        ({"method": "asvgd_released"}, "`method` must be"),
        ({"lr": 0.0}, r"`lr` must lie in \(0, 10\], got 0"),
        ({"steps": 0}, "`steps` must lie in .* got 0"),
        ({"batch": 1}, "`batch` must lie in .* got 1"),
        ({"latent": 0}, "`latent` must lie in .* got 0"),
        ({"seed": ()}, r"`seed` must be a whole number or several of them, got \(\)"),
        ({"seed": 1.5}, "not iterable|`seed` must be"),
        ({"dtype": torch.float16}, "`dtype` must be torch.float32 or torch.float64"),
        ({"log_prob": 3}, r"`log_prob` must be a function of points \(n, 2\), got int"),
        ({"log_prob": lambda z: z}, r"`log_prob` of points \(2, 2\) must be a tensor \(2,\)"),
        ({"log_prob": lambda z: bent(z).double()}, "of torch.float32, got .* of torch.float64"),
        ({"log_prob": lambda z: bent(z).detach()}, "not differentiable by autograd; give `score`"),
        ({"score": lambda z: z[:, 0]}, r"`score` of points \(2, 2\) must be a tensor \(2, 2\)"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(wrong, message):
    given = {"log_prob": bent, **SMALL, **wrong}
    with pytest.raises(SettingError, match=f"^fit: .*({message})"):
        fit(**given)


def test_global_random_states_are_left_alone():
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    fit(bent, **SMALL).posterior.sample((3,))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1] and random.getstate() == before[2]


def test_all_but_the_problem_is_keyword_only():
    kinds = {name: p.kind for name, p in inspect.signature(fit).parameters.items()}
    assert [n for n, kind in kinds.items() if kind is not inspect.Parameter.KEYWORD_ONLY] == ["log_prob", "dim"]
