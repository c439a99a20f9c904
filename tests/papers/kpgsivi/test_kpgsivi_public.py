"""`fit`: the research step on the same streams, seeds as an axis, dtypes, refusals, nothing of the user's changed."""

import inspect
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
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


def test_a_target_on_the_line_is_as_good_as_any():
    found = fit(lambda z: -0.5 * (z[:, 0] - 1) ** 2, 1, steps=300, batch=32, hidden=8, lr=0.02, seed=1)
    drawn = found.posterior.sample((4000,), seed=2)
    assert drawn.shape == (4000, 1) and abs(drawn.mean().item() - 1) < 0.3 and not found.diverged


def test_the_density_can_be_differentiated():
    posterior = fit(bent, dtype=torch.float64, log_variance=-6.0, **SMALL).posterior
    z = posterior.sample((4,)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: posterior.log_prob(z, components=1500), (z,))


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


class Mean(nn.Module):
    """The default network as a module that is not a Sequential, with a layer that is not trained."""

    def __init__(self, layers):
        super().__init__()
        self.layers, self.shift = layers, nn.Parameter(torch.zeros(2, dtype=torch.float64), requires_grad=False)

    def forward(self, x):
        return self.layers(x) + self.shift


def default(seed=0, dtype=torch.float64):
    """The default network of SMALL where the seed starts it, as a module."""
    family, streams = kpgsivi.Family(3, 8, 2), Streams("kpgsivi")
    start = kpgsivi.Problem(None, family, (seed,), streams, dtype=dtype).start(0.0)
    return family.network.module(start[0])


OWN = {name: value for name, value in SMALL.items() if name != "hidden"}


@pytest.mark.parametrize("method", OFFERED)
def test_a_network_of_ones_own_that_is_the_default_one_gives_the_same_bits(method):
    net = default(dtype=torch.float32)
    before = [p.clone() for p in net.parameters()]
    own, usual = fit(bent, method=method, network=net, **OWN), fit(bent, method=method, **SMALL)
    assert torch.equal(own.posterior.parameters, usual.posterior.parameters)
    assert torch.equal(own.posterior.sample((7,)), usual.posterior.sample((7,)))
    assert all(torch.equal(a, b) for a, b in zip(own.history.values(), usual.history.values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("method", OFFERED)
def test_any_module_is_trained_by_the_same_gradient(method):
    net = Mean(default())
    own = fit(bent, method=method, network=net, seed=(0, 5), **OWN)
    usual = fit(bent, method=method, dtype=torch.float64, **SMALL)
    assert own.posterior.parameters.dtype == torch.float64 and own.posterior.parameters.shape[0] == 2
    assert_close(own.posterior.parameters[0], usual.posterior.parameters, atol=1e-8, rtol=1e-8)
    assert (own.posterior.parameters[1] != own.posterior.parameters[0]).any()  # one start, other random numbers
    alone = fit(bent, method=method, network=net, seed=5, **OWN)
    assert_close(own.posterior.parameters[1], alone.posterior.parameters, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("make", [lambda: default(), lambda: Mean(default()), lambda: None])
def test_the_fitted_network_is_a_module_again(make):
    net = make()
    got = fit(bent, network=net, seed=(0, 1), dtype=torch.float64, **(SMALL if net is None else OWN))
    back, x = got.posterior.module(1), torch.randn(6, 3, dtype=torch.float64)
    family, rows = got.posterior.family, got.posterior.parameters
    assert_close(back(x), family.mean(rows[1:], x[None])[0])
    if net is not None:
        assert not torch.equal(back(x), net(x)) and not hasattr(net, "fitted")
        wanted = [name for name, p in net.named_parameters() if p.requires_grad]
        assert [name for name, p in back.named_parameters() if p.requires_grad] == wanted


def test_dropout_and_running_means_stand_still_in_a_network_of_ones_own():
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))
    one, two = (fit(bent, network=net, **OWN) for _ in range(2))
    assert torch.equal(one.posterior.parameters, two.posterior.parameters)
    assert net.training and int(net[1].num_batches_tracked) == 0 and not one.posterior.module().training


def test_a_callback_ends_a_run_with_a_network_of_ones_own_where_it_ends_one_without():
    def until(step, metrics):
        if step >= 6:
            raise StopIteration

    own = fit(bent, network=default(dtype=torch.float32), callback=until, **OWN)
    usual = fit(bent, callback=until, **SMALL)
    assert int(own.history["step"][-1]) == 6
    assert torch.equal(own.posterior.parameters, usual.posterior.parameters)


def test_a_fitted_network_goes_on_where_it_stood():
    """A second fit from the fitted module starts at its parameters."""
    first = fit(bent, **SMALL)
    again = fit(bent, network=first.posterior.module(), lr=1e-9, **OWN)
    size = first.posterior.family.network.size
    assert_close(again.posterior.parameters[:size], first.posterior.parameters[:size], atol=1e-6, rtol=0)


@pytest.mark.parametrize("layers", [
    [nn.Linear(3, 2, bias=False)],
    [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)],
    [nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.ReLU()],
    [nn.Linear(3, 4), nn.Linear(4, 2)],
])  # fmt: skip
def test_layers_that_are_not_the_networks_own_are_not_taken_for_it(layers):
    net = nn.Sequential(*layers)
    got = fit(bent, network=net, **OWN)
    x = torch.randn(5, 3)
    filled = got.posterior.module()
    assert [type(a) for a in filled.modules()] == [type(a) for a in net.modules()]
    assert_close(filled(x), got.posterior.family.mean(got.posterior.parameters[None], x[None])[0])


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
        ({"network": nn.Linear(3, 2)}, "give `hidden` or `network`, not both"),
        ({"network": bent, "hidden": None}, "`network` must be an nn.Module or empty, got function"),
        ({"network": nn.ReLU(), "hidden": None}, "`network` has no parameter to train"),
        (
            {"network": nn.Linear(4, 2), "hidden": None},
            r"`network` does not take latents \(2, 3\) .*`latent` is their dimension",
        ),
        ({"network": nn.Linear(3, 1), "hidden": None}, r"`network` of latents \(2, 3\) must be a tensor \(2, 2\)"),
        ({"network": nn.LSTM(3, 2), "hidden": None}, "`network` of latents .* got tuple"),
        (
            {"network": nn.Linear(3, 2), "hidden": None, "dtype": torch.float64},
            "`network` must be of one dtype and device",
        ),
        ({"network": nn.Linear(3, 2, device="meta"), "hidden": None}, "got torch.float32 on meta"),
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
