"""Rows of models: hand-written gradients against autograd, the step in place, parts and pulls, the convolutions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from descent.papers.pfedsop import evaluation
from descent.papers.pfedsop.convolution import Cnn
from descent.papers.pfedsop.network import Mlp, Network, head_logits, softmax_

ROWS, BATCH = 3, 5


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def one_hot(classes, seed=0):
    labels = torch.randint(classes, (ROWS, BATCH), generator=torch.Generator().manual_seed(seed))
    return functional.one_hot(labels, classes).double(), labels


def plain_mlp(v, x):
    """One model, layer by layer; 4 - 6 - 3."""
    W, b, V, c = v[:24].view(4, 6), v[24:30], v[30:48].view(6, 3), v[48:]
    return torch.relu(x @ W + b) @ V + c


def plain_cnn(v, x):
    """One model by torch's own layers; 16 x 16 x 2 images, widths 3, 4, 7, five classes."""
    sizes = [50 * 3, 3, 75 * 4, 4, 4 * 7, 7, 7 * 5, 5]
    a, ab, c, cb, e, eb, f, fb = v.split(sizes)
    x = x.movedim(-1, 1)
    x = functional.max_pool2d(functional.conv2d(x, a.view(2, 5, 5, 3).permute(3, 0, 1, 2), ab).relu(), 2)
    x = functional.max_pool2d(functional.conv2d(x, c.view(3, 5, 5, 4).permute(3, 0, 1, 2), cb).relu(), 2)
    return (x.flatten(1) @ e.view(4, 7) + eb).relu() @ f.view(7, 5) + fb


CASES = {
    "mlp": (Mlp(4, 6, 3), plain_mlp, (4,), 3),
    "cnn": (Cnn((16, 16, 2), 5, widths=(3, 4, 7)), plain_cnn, (16, 16, 2), 5),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_those_of_single_models(name):
    network, plain, shape, classes = CASES[name]
    params, x = 0.3 * draw(ROWS, network.size), draw(ROWS, BATCH, *shape, seed=1)
    y, labels = one_hot(classes)
    got = network.gradient(params, x, y)
    for row in range(ROWS):
        leaf = params[row].clone().requires_grad_()
        logits = plain(leaf, x[row])
        functional.cross_entropy(logits, labels[row]).backward()
        torch.testing.assert_close(network.logits(params, x)[row], logits.detach(), atol=1e-12, rtol=1e-10)
        torch.testing.assert_close(got[row], leaf.grad, atol=1e-12, rtol=1e-10)
    features = network.features(params, x)
    torch.testing.assert_close(head_logits(params[:, -network.head :], features), network.logits(params, x))
    torch.testing.assert_close(
        network.head_gradient(params[:, -network.head :], features, y), got[:, -network.head :], atol=1e-12, rtol=1e-10
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("part", ["all", "head", "body"])
@pytest.mark.parametrize("pulled", [False, True])
def test_a_step_in_place_is_the_gradient_s(name, part, pulled):
    network, _, shape, classes = CASES[name]
    params, x = 0.3 * draw(ROWS, network.size), draw(ROWS, BATCH, *shape, seed=1)
    y, _ = one_hot(classes)
    to, lr, pull = (
        draw(ROWS, network.size, seed=2),
        0.1 + draw(ROWS, 1, seed=3).abs(),
        0.2 + draw(ROWS, 1, seed=4).abs(),
    )
    step = network.gradient(params, x, y) + (pull * (params - to) if pulled else 0)
    body = network.size - network.head
    moves = torch.ones(network.size, dtype=torch.float64)
    moves[: body if part == "head" else 0] = 0
    moves[body if part == "body" else network.size :] = 0
    before = params.clone()
    leaves = network.opened(params)
    more = {"to": network.opened(to), "pull": pull} if pulled else {}
    network.descend_(leaves, x, y, lr, part=part, **more)
    torch.testing.assert_close(network.closed(leaves), before - lr * step * moves, atol=1e-12, rtol=1e-10)
    assert torch.equal(params, before)  # what was opened is a copy


def test_starts_lie_within_torch_s_bounds():
    network = Mlp(4, 6, 3)
    layers = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)
    bounds = torch.cat([torch.full((p.numel(),), m.in_features**-0.5) for m in layers for p in (m.weight, m.bias)])
    torch.testing.assert_close(network.bounds(), bounds)
    assert Cnn((28, 28), 10).size == 582_026 and Cnn((32, 32, 3), 10).size == 878_538


def test_softmax_survives_large_logits():
    z = torch.tensor([[[1000.0, 0.0], [-1000.0, -1001.0]]])
    torch.testing.assert_close(softmax_(z.clone()), z.softmax(-1))


def test_what_a_network_does_not_have_is_not_made_up():
    for call in (Network().gradient, Network().logits):
        with pytest.raises(NotImplementedError):
            call(None, None, None) if call.__name__ == "gradient" else call(None, None)
    with pytest.raises(NotImplementedError):
        Network().features(None, None)


@pytest.mark.parametrize("clients", [1, 2, 3, 12])
def test_the_tenth_percentile_of_clients_is_numpy_s(clients):
    """A model that says class 0 always, so a client's accuracy is its share of that class."""
    rng = np.random.default_rng(clients)
    labels = torch.from_numpy(rng.integers(0, 2, 200))
    own = [[rng.choice(200, size, replace=False) for size in rng.integers(5, 30, clients)] for _ in range(2)]
    network = Mlp(3, 2, 2)
    params = torch.zeros(2, 1, network.size)
    params[..., -2] = 1.0
    found = evaluation.Tests(own, torch.zeros(200, 3), labels).accuracies(network, params)
    for s in range(2):
        each = [(labels[mine] == 0).double().mean().item() for mine in own[s]]
        assert found["client_low"][s].item() == pytest.approx(np.percentile(each, 10), abs=1e-12)
        assert found["client_mean"][s].item() == pytest.approx(np.mean(each), abs=1e-12)
