"""two_layers.py: the steps of gradient_descent.py, whatever is reduced, padded or grouped; the start; what is refused."""

import pytest
import torch

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.guesscheck import gradient_descent, two_layers
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.problem import Task, instance

STREAMS, SEEDS = Streams("guesscheck"), (700, 701)
WIDTHS = (3, 10, 17, 70)  # narrower than the product, exactly what is kept of a linear network, wider; three groups


def tasks(count):
    made = instance(STREAMS, SEEDS, task="sensing", rank=1, measurements=15)
    return Task(*(x.repeat(count, *[1] * (x.dim() - 1)) for x in made))


def ran(way, networks, steps, momentum=0.0, scale=0.4):
    """(products, training losses' gradient norm of the last step, the state) of the networks, two seeds each."""
    networks, count = [n for n in networks for _ in SEEDS], len(networks)
    task = tasks(count)
    method = way.descent(task, networks, step_size=0.01, momentum=momentum)
    state = method.init(way.start(networks, STREAMS, SEEDS * count, [scale] * len(networks), like=task.labels))
    info = None
    for _ in range(steps):
        state, info = method.step(state, None)
    output = way.output(networks) if way is two_layers else way.output(networks, task.labels)
    return output(state), info, state


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_takes_the_steps_of_each_network_alone(momentum):
    networks = sorted(
        (Network(5, 5, 2, k, a) for k in WIDTHS for a in ("linear", "tanh", "leaky")), key=two_layers.order
    )
    together, info, _ = ran(two_layers, networks, 100, momentum)
    for i, network in enumerate(networks):
        rows = slice(2 * i, 2 * i + 2)
        alone, plain, _ = ran(gradient_descent, [network], 100, momentum)
        torch.testing.assert_close(together[rows], alone, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(info.gradient_norm[rows], plain.gradient_norm, atol=1e-9, rtol=1e-9)


def test_the_first_products_are_those_of_the_drawn_weights():
    networks = sorted((Network(5, 5, 2, k, a) for k in WIDTHS for a in ("linear", "leaky")), key=two_layers.order)
    together, _, _ = ran(two_layers, networks, 0, scale=1.0)
    for i, network in enumerate(networks):
        first, last = gradient_descent.drawn([network] * 2, STREAMS, SEEDS, [1.0] * 2)[1]
        h = first if network.activation == "linear" else torch.nn.functional.leaky_relu(first, 0.2)
        torch.testing.assert_close(together[2 * i + 1], h @ last, atol=1e-12, rtol=1e-12)


def test_a_linear_network_keeps_ten_columns_and_padding_stays_zero():
    networks = [Network(5, 5, 2, k, a) for a in ("linear", "tanh", "leaky") for k in (5, 17)]
    _, _, state = ran(two_layers, networks, 50)
    assert [w.shape for w in state.first] == [(12, 5, 17)] == [w.shape for w in state.last]
    for layer in (state.first[0], state.last[0]):
        assert not layer[:2, :, 5:].any() and not layer[2:4, :, 10:].any() and layer[2:4, :, :10].any()
        assert not layer[4:6, :, 5:].any() and not layer[8:10, :, 5:].any()
    assert [two_layers.columns_of(n) for n in networks] == [5, 10, 5, 17, 5, 17]


def test_widths_of_the_study_make_two_groups():
    networks = [Network(5, 5, 2, k, a) for a in ("linear", "tanh", "leaky") for k in (5, 10, 20, 40, 80, 160)]
    groups = two_layers.grouped(sorted(networks, key=two_layers.order))
    assert groups == [(12, slice(6, 9), slice(9, 12)), (6, slice(0, 3), slice(3, 6))]


def test_what_it_cannot_do_is_refused():
    task = tasks(1)
    with pytest.raises(SettingError, match="two_layers takes networks of depth 2 with square products"):
        two_layers.descent(task, [Network(5, 5, 3, 5)] * 2, step_size=0.1)
    with pytest.raises(SettingError, match="two_layers takes networks of depth 2 with square products"):
        two_layers.descent(task, [Network(5, 4, 2, 5)] * 2, step_size=0.1)
    with pytest.raises(SettingError, match="descent: `step_size` must lie in"):
        two_layers.descent(task, [Network(5, 5, 2, 7)] * 2, step_size=0.0)
    for wrong in (
        [Network(5, 5, 2, 5, "tanh"), Network(5, 5, 2, 5)],
        [Network(5, 5, 2, 160, "tanh"), Network(5, 5, 2, 5)],
    ):
        with pytest.raises(ValueError, match="sorted by like widths, then by activation"):
            two_layers.descent(task, wrong, step_size=0.1)
