"""gradient_descent.py: gradients against autograd, padding, the first step, momentum."""

import pytest
import torch

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.gradient_descent import descent, output, padded, start
from descent.papers.guesscheck.problem import Task, instance

STREAMS = Streams("guesscheck")
SEEDS = (700, 701)
SIGMA = {"linear": lambda x: x, "tanh": torch.tanh, "leaky": lambda x: torch.nn.functional.leaky_relu(x, 0.2)}


def tasks(count, **changes):
    made = instance(STREAMS, SEEDS, **{"task": "sensing", "rank": 1, "measurements": 15} | changes)
    return Task(*(x.repeat(count, *[1] * (x.dim() - 1)) for x in made))


def slow(network, weights, seen, labels):
    """L_train of one problem as a plain chain of matrices."""
    h = torch.eye(network.rows, dtype=weights[0].dtype)
    for layer, w in enumerate(weights):
        h = h @ w
        if layer < len(weights) - 1:
            h = SIGMA[network.activation](h)
    return ((seen @ h.flatten() - labels) ** 2).mean()


def random_layers(network, seed):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=g, dtype=torch.float64) * 0.5 for shape in network.shapes]


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("activation", ["linear", "tanh", "leaky"])
def test_one_step_follows_autograd_s_gradient(activation, depth):
    network, task = Network(5, 5, depth, 4, activation), tasks(1)
    layers = [random_layers(network, s) for s in range(2)]
    method = descent(task, [network] * 2, step_size=0.01)
    state, info = method.step(method.init(padded([network] * 2, layers)), None)
    for s in range(2):
        weights = [w.clone().requires_grad_() for w in layers[s]]
        loss = slow(network, weights, task.seen[s], task.labels[s])
        gradients = torch.autograd.grad(loss, weights)
        norm = torch.sqrt(sum(g.square().sum() for g in gradients))
        assert info.training[s].item() == pytest.approx(loss.item(), rel=1e-12)
        assert info.gradient_norm[s].item() == pytest.approx(norm.item(), rel=1e-10)
        for new, old, g in zip(state.layers, weights, gradients, strict=True):
            # v / (1 - 0.99) is |G|^2 after one step, so the step's length is lr |G| / (|G| + 1e-6).
            torch.testing.assert_close(new[s], old.detach() - 0.01 * g / (norm + 1e-6), atol=1e-10, rtol=1e-10)


def test_a_hundred_steps_are_those_of_a_plain_loop():
    network, task = Network(5, 5, 3, 6, "tanh"), tasks(1)
    method = descent(task, [network] * 2, step_size=0.003)
    state = method.init(start([network] * 2, STREAMS, SEEDS, [0.5, 0.5], like=task.labels))
    plain = [[w[s].clone() for w in state.layers] for s in range(2)]
    v = [0.0, 0.0]
    for t in range(1, 101):
        state, _ = method.step(state, None)
        for s in range(2):
            weights = [w.requires_grad_() for w in plain[s]]
            g = torch.autograd.grad(slow(network, weights, task.seen[s], task.labels[s]), weights)
            v[s] = 0.99 * v[s] + 0.01 * sum(x.square().sum() for x in g)
            size = 0.003 / ((v[s] / (1 - 0.99**t)).sqrt() + 1e-6)
            plain[s] = [(w - size * x).detach() for w, x in zip(weights, g, strict=True)]
    for s in range(2):
        for mine, theirs in zip(state.layers, plain[s], strict=True):
            torch.testing.assert_close(mine[s], theirs, atol=1e-9, rtol=1e-9)


def test_padded_widths_are_the_unpadded_runs():
    networks = [Network(5, 5, 2, k, a) for a in ("linear", "tanh", "leaky") for k in (3, 7) for _ in SEEDS]
    task = tasks(6)
    method = descent(task, networks, step_size=0.01)
    state = method.init(start(networks, STREAMS, SEEDS * 6, [0.3] * 12, like=task.labels))
    for _ in range(100):
        state, _ = method.step(state, None)
    assert not state.layers[0][:2, :, 3:].any() and not state.layers[1][:2, 3:].any()
    together = output(networks, task.labels)(state)
    for i in range(0, 12, 2):
        own, alone = tasks(1), networks[i : i + 2]
        method = descent(own, alone, step_size=0.01)
        state_ = method.init(start(alone, STREAMS, SEEDS, [0.3] * 2, like=own.labels))
        for _ in range(100):
            state_, _ = method.step(state_, None)
        torch.testing.assert_close(together[i : i + 2], output(alone, own.labels)(state_), atol=1e-6, rtol=1e-6)


def test_padded_depths_are_the_unpadded_runs():
    networks = [Network(5, 5, d, 5, a) for a in ("linear", "tanh", "leaky") for d in (2, 4) for _ in SEEDS]
    task = tasks(6)
    method = descent(task, networks, step_size=0.01)
    state = method.init(start(networks, STREAMS, SEEDS * 6, [0.7] * 12, like=task.labels))
    for _ in range(100):
        state, _ = method.step(state, None)
    torch.testing.assert_close(state.layers[0][0], torch.eye(5, dtype=torch.float64))  # identity layers stay
    together = output(networks, task.labels)(state)
    for i in range(0, 12, 2):
        own, alone = tasks(1), networks[i : i + 2]
        method = descent(own, alone, step_size=0.01)
        state_ = method.init(start(alone, STREAMS, SEEDS, [0.7] * 2, like=own.labels))
        for _ in range(100):
            state_, _ = method.step(state_, None)
        torch.testing.assert_close(together[i : i + 2], output(alone, own.labels)(state_), atol=1e-6, rtol=1e-6)


def test_heavy_ball_keeps_a_share_of_its_direction_and_none_is_plain_descent():
    network, task = Network(5, 5, 2, 5), tasks(1)
    first = start([network] * 2, STREAMS, SEEDS, [0.5, 0.5], like=task.labels)
    heavy, plain = (descent(task, [network] * 2, step_size=0.01, momentum=m) for m in (0.9, 0.0))
    one, _ = heavy.step(heavy.init(first), None)
    two, info = heavy.step(one, None)
    assert plain.init(first).direction == ()
    size = 0.01 / ((two.moment / (1 - 0.99**2)).sqrt() + 1e-6)
    for w1, w2, d1, d2 in zip(one.layers, two.layers, one.direction, two.direction, strict=True):
        torch.testing.assert_close(w2, w1 - size[:, None, None] * d2)
        gradient = d2 - 0.9 * d1
        assert gradient.square().sum((1, 2)).le(info.gradient_norm.square() + 1e-12).all()
    same, _ = plain.step(plain.init(first), None)
    for a, b in zip(one.layers, same.layers, strict=True):
        assert torch.equal(a, b)  # the first step has no past


def test_starts_are_small_uniform_and_shared_by_activations():
    networks = [Network(5, 5, 2, 40, a) for a in ("linear", "tanh") for _ in SEEDS]
    first, last = start(networks, STREAMS, SEEDS * 2, [1e-3] * 4, like=tasks(2).labels)
    assert torch.equal(first[:2], first[2:]) and torch.equal(last[:2], last[2:])
    assert first.abs().max() <= 1e-3 * 5**-0.5 and first.abs().max() > 0.9e-3 * 5**-0.5
    assert last.abs().max() <= 1e-3 * 40**-0.5 and last.abs().max() > 0.9e-3 * 40**-0.5


def test_it_learns_what_was_not_measured():
    """Small start, two linear layers: the rank-one target is found from 15 of 25 measurements."""
    network, task = Network(5, 5, 2, 5), tasks(1)
    method = descent(task, [network] * 2, step_size=0.003)
    state = method.init(start([network] * 2, STREAMS, SEEDS, [1e-3] * 2, like=task.labels))
    for _ in range(1500):
        state, _ = method.step(state, None)
    held_out = (task.unseen @ output([network] * 2, task.labels)(state).flatten(1)[..., None])[..., 0]
    assert ((held_out - task.answers) ** 2).mean(1).max() < 1e-3 < 0.01 * (0.2 + (task.answers**2).mean())


def test_what_cannot_be_padded_is_refused():
    task = tasks(1)
    with pytest.raises(SettingError, match="share a batch only where all widths equal the rows"):
        descent(task, [Network(5, 5, 2, 7), Network(5, 5, 3, 7)], step_size=0.1)
    with pytest.raises(SettingError, match="share a batch only where all widths equal the rows"):
        descent(
            task, [Network(5, 5, 2, 5), Network(5, 5, 3, 7)], step_size=0.1
        )  # the deeper one is as wide as it likes
    with pytest.raises(SettingError, match="descent: `step_size` must lie in"):
        descent(task, [Network(5, 5, 2, 7)] * 2, step_size=0.0)
    with pytest.raises(ValueError, match="grouped by activation"):
        descent(task, [Network(5, 5, 2, 5, "tanh"), Network(5, 5, 2, 5)], step_size=0.1)
