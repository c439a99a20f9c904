"""public.py: the page's example, the same numbers as the research steps, refusals, seeds, dtypes, nothing changed outside."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.papers import guesscheck
from descent.papers.guesscheck import gradient_descent, guessing, importance, subset
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.problem import Task, measured

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/papers/guesscheck.md"


def own_problem(dtype=torch.float64, n=5, shape=(2, 4)):
    g = torch.Generator().manual_seed(4)
    A = F.normalize(torch.randn(n, shape[0] * shape[1], generator=g, dtype=dtype)).view(n, *shape)
    W = torch.outer(*(torch.randn(k, generator=g, dtype=dtype) for k in shape))
    W = W / W.norm()
    return A, (A * W).sum((1, 2)), W


def test_the_example_of_the_page_finds_what_it_should():
    blocks = dict(re.findall(r"```python (set-up|example)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S))
    names = {}
    state = torch.random.get_rng_state()
    exec(blocks["set-up"] + blocks["example"], names)
    torch.random.set_rng_state(state)
    p = names["p"]
    assert p.mean.shape == (4, 6) and p.effective_size >= 200
    assert 0 < p.error < p.prior_error and p.standard_error < 0.2 * p.error
    assert names["run"].history["training_loss"][-1] < 1e-4 and not names["run"].diverged


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("way", ["literal", "importance", "subset"])
def test_it_is_the_research_step_on_the_same_streams_bit_for_bit(way, dtype):
    A, y, W = own_problem(dtype)
    p = guesscheck.guess_and_check(
        A, y, depth=2, width=3, tolerance=0.05, truth=W, method=way, guesses=4000, seed=(7, 8)
    )
    assert p.error.dtype == dtype and p.mean.shape == (2, 2, 4)
    task = tree_map(
        lambda x: x.to(dtype).expand(2, *x.shape[1:]).contiguous(),
        measured(A.double()[None], y.double()[None], W.double()[None]),
    )
    network, streams = Network(2, 4, 2, 3), Streams("guesscheck")
    with torch.no_grad():
        if way == "literal":
            method = guessing.guessing(task, network, streams, (7, 8), tolerance=0.05, batch=2048, dtype=dtype)
            state = method.init()
            for k in range(2):
                state, _ = method.step(state, tree_map(lambda x: x[0], method.draw(k, 1)))
            found = guessing.posterior(state)
        elif way == "importance":
            method = importance.importance(
                Task(*(x.double() for x in task)), network, streams, (7, 8), tolerance=0.05, batch=500
            )
            state = method.init()
            for k in range(8):
                state, _ = method.step(state, tree_map(lambda x: x[0], method.draw(k, 1)))
            found = importance.posterior(state)
        else:
            method = subset.subset(
                task, network, streams, (7, 8), tolerance=0.05, dtype=dtype, chains=128, replicates=8
            )
            state, k = method.init(), 0
            while not bool(subset.finished(state, burn_in=2, kept=4).all()):
                state, _ = method.step(state, tree_map(lambda x: x[0], method.draw(k, 1)))
                k += 1
            found, _ = subset.posterior(state, chains=128, records=4)
    for mine, theirs in zip(p, found, strict=True):
        assert torch.equal(mine, theirs.to(dtype))


def test_descent_is_the_research_step_bit_for_bit_and_can_be_stopped():
    A, y, W = own_problem()
    seen = []
    run = guesscheck.descend(A, y, depth=3, width=4, activation="tanh", lr=0.01, steps=300, start_scale=0.3, truth=W,
                             callback=lambda t, metrics: seen.append(t))  # fmt: skip
    assert seen == run.history["step"].tolist() and seen[0] == 0 and seen[-1] == 300
    task = measured(A[None], y[None], W[None])
    networks = [Network(2, 4, 3, 4, "tanh")]
    method = gradient_descent.descent(task, networks, step_size=0.01)
    state = method.init(gradient_descent.start(networks, Streams("guesscheck"), (0,), [0.3], like=A))
    for _ in range(300):
        state, _ = method.step(state, None)
    assert torch.equal(run.product, gradient_descent.output(networks, A)(state)[0])
    residual = (A * run.product).sum((1, 2)) - y
    assert run.history["training_loss"][-1].item() == pytest.approx(residual.square().mean().item(), rel=1e-12)

    def stop(t, metrics):
        if t >= 10:
            raise StopIteration

    short = guesscheck.descend(A, y, depth=2, width=4, steps=300, callback=stop)
    assert short.history["step"][-1] < 20 and short.history["error"].isnan().all()  # no truth, no test loss


def test_several_seeds_are_their_single_runs():
    A, y, W = own_problem()
    for way in ("literal", "importance", "subset"):
        options = {"depth": 2, "width": 3, "tolerance": 0.05, "truth": W, "method": way, "guesses": 3000}
        together = guesscheck.guess_and_check(A, y, seed=range(3), **options)
        for s in range(3):
            alone = guesscheck.guess_and_check(A, y, seed=s, **options)
            for name, one, all_ in zip(alone._fields, alone, together, strict=True):
                torch.testing.assert_close(one, all_[s], rtol=1e-8, atol=1e-10, msg=f"{way}: {name}")
    runs = guesscheck.descend(A, y, depth=2, width=3, steps=100, lr=0.01, seed=(3, 5))
    one = guesscheck.descend(A, y, depth=2, width=3, steps=100, lr=0.01, seed=5)
    torch.testing.assert_close(runs.product[1], one.product, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(runs.history["training_loss"][:, 1], one.history["training_loss"], rtol=1e-9, atol=1e-12)


def test_auto_goes_on_where_literal_guesses_find_too_little():
    A, y, W = own_problem(n=6, shape=(3, 3))
    few = {"depth": 2, "width": 5, "truth": W, "guesses": 2000}
    loose = guesscheck.guess_and_check(A, y, tolerance=0.5, **few)
    literal = guesscheck.guess_and_check(A, y, tolerance=0.5, method="literal", **few)
    assert torch.equal(loose.error, literal.error) and loose.effective_size >= 200
    tight = guesscheck.guess_and_check(A, y, tolerance=0.01, **few)
    assert tight.effective_size >= 200 and tight.log10_acceptance < -2
    none = guesscheck.guess_and_check(A, y, tolerance=1e-7, method="literal", **few)
    assert none.accepted == 0 and none.error.isnan() and none.mean.isnan().all()


def test_mean_solves_the_measurements_and_nothing_outside_changes():
    A, y, W = own_problem(torch.float32)
    kept = [x.clone() for x in (A, y, W)]
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), torch.get_default_dtype()
    p = guesscheck.guess_and_check(A, y, depth=2, width=3, tolerance=0.02, truth=W, guesses=20_000)
    residual = (A * p.mean).sum((1, 2)) - y
    assert residual.square().mean() < 0.02  # a mean of points of a ball lies in it
    assert torch.equal(before[0], torch.random.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])
    assert torch.get_default_dtype() == before[2]
    assert all(torch.equal(a, b) for a, b in zip(kept, (A, y, W), strict=True))


def test_descend_refuses_too():
    A, y, _ = own_problem()
    with pytest.raises(SettingError, match="descend: `lr` must lie in"):
        guesscheck.descend(A, y, depth=2, width=3, lr=-1.0)
    with pytest.raises(SettingError, match="descend: `steps` must lie in"):
        guesscheck.descend(A, y, depth=2, width=3, steps=0)


def defaults(function):
    """What is left out of a call, by name."""
    return {n: p.default for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}


def test_what_is_left_out_is_what_the_page_says():
    """The paper's runs over widths: linear, normal weights, nothing normalised; a million guesses."""
    assert defaults(guesscheck.guess_and_check) == {
        "activation": "linear", "prior": "gauss", "normalised": False, "truth": None, "method": "auto", "guesses": 1_000_000,
        "seed": 0,
    }  # fmt: skip
    assert defaults(guesscheck.descend) == {
        "activation": "linear", "lr": 1e-3, "steps": 20_000, "start_scale": 1e-3, "momentum": 0.0, "truth": None, "seed": 0,
        "callback": None,
    }  # fmt: skip
