"""The experiments: tiny jobs against plain loops, what is recorded of what cannot be sampled, and the study's plan."""

import importlib
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from guesscheck_plain import guesses, losses

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.papers.guesscheck.room import METHODS
from descent.papers.guesscheck.settings import SETTINGS
from descent.runner.run import perform

ROOT = Path(__file__).resolve().parents[3]
STREAMS = Streams("guesscheck")
DEFAULTS = {name: s.default for name, s in SETTINGS.items()}
PROBLEM = ("task", "rank", "measurements", "activation", "depth", "width", "prior", "normalised")


def job(*variants, experiment="width", axes=("width",)):
    made = []
    for method, seeds, changes in variants:
        params = {**{name: DEFAULTS[name] for name in (*PROBLEM, *METHODS[method].settings)}, **changes}
        made.append(
            Variant(method, {axis: params[axis] for axis in axes}, params, seeds, takes=METHODS[method].settings)
        )
    return Job(
        "guesscheck",
        experiment,
        "all",
        "study",
        "train",
        "descent.papers.guesscheck.sweep",
        axes,
        tuple(made),
        device="cpu",
    )


def records(*variants, **more):
    made = job(*variants, **more)
    return perform(made).frame(made)


def value(frame, metric, seed, **where):
    rows = frame[(frame["metric"] == metric) & (frame["seed"] == seed)]
    for name, wanted in where.items():
        rows = rows[rows[name] == wanted]
    return rows.sort_values("step")["value"].iloc[-1]


def world(seed, task="sensing", rank=1, count=15):
    """Target and measurements of a seed as docs/papers/guesscheck.md has them, from the seed's own streams."""
    left = STREAMS.normal("target", [seed], (5, rank), "left", rank)[0].numpy()
    right = STREAMS.normal("target", [seed], (rank, 5), "right", rank)[0].numpy()
    target = left @ right / np.linalg.norm(left @ right)
    if task == "sensing":
        matrices = STREAMS.normal("sensing", [seed], (count, 5, 5))[0].numpy()
        matrices = np.stack([a / math.sqrt((a**2).sum()) for a in matrices])
    else:
        matrices = np.zeros((count, 5, 5))
        for i, entry in enumerate(STREAMS.numpy("completion", seed).permutation(25)[:count]):
            matrices[i, entry // 5, entry % 5] = 1
    return matrices, target


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 2, "width": 5, "tolerance": 0.15},
        {"depth": 3, "width": 4, "tolerance": 0.05, "activation": "leaky", "normalised": True},
        {"depth": 2, "width": 6, "tolerance": 0.12, "task": "completion", "prior": "uniform", "activation": "tanh"},
        {"depth": 2, "width": 5, "tolerance": 0.15, "rank": 2, "measurements": 22},
    ],
)
def test_literal_guess_and_check_is_the_paper_s_loop_on_the_same_guesses(changes):
    """Every guess one at a time: draw, product, both losses, keep if it fits; the mean of what was kept."""
    seed, count = 703, 1500
    params = {**{name: DEFAULTS[name] for name in PROBLEM}, **changes}
    frame = records(
        ("guess_check", (702, seed), {**changes, "sampler": "literal", "guesses": count, "batch": 500, "least": 1.0}),
        ("prior", (702, seed), {**changes, "guesses": count, "batch": 500} | {"tolerance": 1.0}),
    )
    matrices, target = world(seed, params["task"], params["rank"], params["measurements"])
    sizes = [5] + [params["width"]] * (params["depth"] - 1) + [5]
    kept, every = [], []
    generator = STREAMS.torch("guesses", seed, 0)
    total = [a * b for a, b in itertools.pairwise(sizes)]
    for _ in range(3):
        inner = torch.randn((sum(total[:-1]), 500), generator=generator)
        last = torch.randn((total[-1], 500, 1), generator=generator)[..., 0]
        z = torch.cat([inner, last]).double()
        for c in range(500):
            h, at = np.eye(5), 0
            for layer, size in enumerate(total):
                w = z[at : at + size, c].numpy().reshape(sizes[layer], sizes[layer + 1])
                at += size
                if params["prior"] == "uniform":
                    w = np.array([[math.erf(x / math.sqrt(2)) for x in row] for row in w])
                h = h @ (w / math.sqrt(sizes[layer + 1]))
                if layer < len(total) - 1:
                    h = {"linear": h, "tanh": np.tanh(h), "leaky": np.where(h > 0, h, 0.2 * h)}[params["activation"]]
            if params["normalised"]:
                h = h / (math.sqrt((h**2).sum()) + 1e-6)
            train, test = (float(x[0]) for x in losses(h[None], matrices, target))
            every.append(test)
            if train < params["tolerance"]:
                kept.append(test)
    assert len(kept) > 5
    hits = {"method": "guess_check"}
    assert value(frame, "accepted", seed, **hits) == len(kept) == value(frame, "effective_size", seed, **hits)
    assert value(frame, "guesses", seed, **hits) == count
    assert value(frame, "error", seed, **hits) == pytest.approx(np.mean(kept), rel=1e-4)
    assert value(frame, "standard_error", seed, **hits) == pytest.approx(np.std(kept) / math.sqrt(len(kept)), rel=1e-3)
    assert value(frame, "log10_acceptance", seed, **hits) == pytest.approx(math.log10(len(kept) / count), rel=1e-6)
    assert value(frame, "error", seed, method="prior") == pytest.approx(np.mean(every), rel=1e-4)
    assert value(frame, "standard_error", seed, method="prior") == pytest.approx(
        np.std(every) / math.sqrt(count), rel=1e-3
    )


def test_gradient_descent_is_the_official_loop():
    """A network at a time, by autograd: the start, the normalised steps, both losses at the recorded steps."""
    frame = records(
        *[("gd", (702, 703), {"depth": 2, "width": k, "activation": a, "steps": 60, "points": 5, "start_scale": 0.4, "step_size": 0.01})
          for k in (5, 12) for a in ("linear", "leaky")],
        axes=("width", "activation"),
    )  # fmt: skip
    for k in (5, 12):  # twelve columns of a linear network are reduced to ten
        for activation in ("linear", "leaky"):
            matrices, target = world(703)
            rng = STREAMS.numpy("weights", 703, 2, k)
            w1 = torch.from_numpy(0.4 * rng.uniform(-1, 1, (5, k)) / math.sqrt(5)).requires_grad_()
            w2 = torch.from_numpy(0.4 * rng.uniform(-1, 1, (k, 5)) / math.sqrt(k)).requires_grad_()
            a, y = torch.from_numpy(matrices), torch.from_numpy((matrices * target).sum((1, 2)))
            second = 0.0
            for t in range(1, 61):
                h = w1 if activation == "linear" else torch.where(w1 > 0, w1, 0.2 * w1)
                loss = (((a * (h @ w2)).sum((1, 2)) - y) ** 2).mean()
                g1, g2 = torch.autograd.grad(loss, (w1, w2))
                second = 0.99 * second + 0.01 * ((g1**2).sum() + (g2**2).sum())
                size = 0.01 / (torch.sqrt(second / (1 - 0.99**t)) + 1e-6)
                w1, w2 = ((w - size * g).detach().requires_grad_() for w, g in ((w1, g1), (w2, g2)))
            h = w1 if activation == "linear" else torch.where(w1 > 0, w1, 0.2 * w1)
            train, test = (float(x[0]) for x in losses((h @ w2).detach().numpy()[None], matrices, target))
            where = {"width": k, "activation": activation}
            assert value(frame, "error", 703, **where) == pytest.approx(test, rel=1e-3)
            assert value(frame, "training_loss", 703, **where) == pytest.approx(train, rel=1e-3)
    steps = sorted(frame["step"].unique())
    assert steps[0] == 0 and steps[-1] == 60


@pytest.mark.parametrize("sampler", ["importance", "subset"])
def test_the_accelerated_samplers_record_what_rejection_finds(sampler):
    """The recorded numbers of two seeds against plain rejection on their worlds (the law itself: test_guesscheck_law)."""
    seeds, tolerance = (702, 703), 0.15
    frame = records(("guess_check", seeds, {"depth": 2, "width": 10, "tolerance": tolerance, "sampler": sampler, "draws": 8000,
                                            "batch": 500, "chains": 128, "replicates": 8, "least": 1.0}))  # fmt: skip
    for seed in seeds:
        matrices, target = world(seed)
        train, test = losses(guesses(np.random.default_rng(seed), 200_000, 5, 5, 2, 10), matrices, target)
        hit = train < tolerance
        p, mean = hit.mean(), test[hit].mean()
        joint = math.hypot(value(frame, "standard_error", seed), test[hit].std() / math.sqrt(hit.sum()))
        assert joint < 0.05 * mean  # a bias of a quarter is found for sure
        assert abs(value(frame, "error", seed) - mean) < 5 * joint
        assert value(frame, "log10_acceptance", seed) == pytest.approx(math.log10(p), abs=0.2)
        assert 50 < value(frame, "effective_size", seed) < 8 * 128 * 4
        if sampler == "subset":
            assert value(frame, "accepted", seed) == 8 * 128 * 4
            assert 0.44 < value(frame, "top_share", seed) <= 1
        else:
            assert value(frame, "guesses", seed) == 8000


def test_subset_simulation_records_every_thin_th_sweep_of_the_kept_rounds():
    """Where nothing is rejected all chains are draws of the prior, whose mean test loss is known."""
    more = {
        "tolerance": 50.0,
        "sampler": "subset",
        "chains": 128,
        "replicates": 4,
        "least": 1.0,
        "burn_in": 0,
        "kept": 3,
    }
    frame = records(("guess_check", (702,), {**more, "sweeps": 6, "thin": 2}))
    assert value(frame, "accepted", 702) == 4 * 128 * 3 * 3
    matrices, target = world(702)
    unseen = (
        target.ravel()
        - matrices.reshape(15, 25).T @ np.linalg.lstsq(matrices.reshape(15, 25).T, target.ravel(), rcond=None)[0]
    )
    assert value(frame, "error", 702) == pytest.approx(0.2 + (unseen**2).sum() / 10, rel=0.15)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "literal", "guesses": 1000, "batch": 500},  # no hit at all, or a few
        {"sampler": "importance", "draws": 100, "batch": 50, "width": 5},  # weights that rest on a few draws
        {"sampler": "subset", "chains": 16, "replicates": 2, "rounds": 3},  # not there when the rounds are over
    ],
)
def test_what_cannot_be_sampled_honestly_is_undefined_and_says_how_little_there_was(changes):
    frame = records(("guess_check", (702, 703), {"tolerance": 0.02, **changes}))
    for metric in ("error", "standard_error", "log10_acceptance"):
        rows = frame[frame["metric"] == metric]
        assert len(rows) == 2 and (rows["status"] == "undefined").all() and rows["value"].isna().all()
    sizes = frame[frame["metric"] == "effective_size"]
    assert (sizes["status"] == "ok").all() and (sizes["value"] < 200).all()
    assert (frame[frame["metric"] == "guesses"]["value"] > 0).all()


def test_a_replicate_that_has_its_records_does_not_notice_how_long_the_others_take():
    """More rounds after the end change no number: sums are closed, and the count of guesses with them."""
    from descent.core.tree import tree_map
    from descent.papers.guesscheck.factorisation import Network
    from descent.papers.guesscheck.problem import Task, instance
    from descent.papers.guesscheck.subset import finished, posterior, subset

    task = Task(*(x.float() for x in instance(STREAMS, (702,), task="sensing", rank=1, measurements=15)))
    times = {"burn_in": 1, "kept": 2}
    method = subset(task, Network(5, 5, 2, 5), STREAMS, (702,), tolerance=0.2, chains=32, replicates=3, **times)
    state, found = method.init(), []
    for k in range(30):
        state, _ = method.step(state, tree_map(lambda x: x[0], method.draw(k, 1)))
        if bool(finished(state, **times).all()):
            found.append((posterior(state, chains=32, records=2), state.rounds))
    assert len(found) > 5
    for later in found[1:]:
        for a, b in zip(torch.utils._pytree.tree_leaves(found[0]), torch.utils._pytree.tree_leaves(later), strict=True):
            torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


def test_the_study_runs_what_the_specification_lists():
    plan = make_plan(ROOT, read_study(ROOT, {"papers": "guesscheck", "scale": "study"}))
    found = {}
    for made in plan.of("guesscheck"):
        for v in made.variants:
            found[made.experiment, v.method, *(v.params[x] for x in ("activation", "width", "depth"))] = v
    for activation in ("linear", "tanh", "leaky"):
        for k in (5, 10, 20, 40, 80, 160):
            ours = found["width", "guess_check", activation, k, 2]
            assert len(ours.seeds) == 16 and ours.params["tolerance"] == 0.02 and not ours.params["normalised"]
            assert ours.params["measurements"] == 15 and ours.params["rank"] == 1
            descent = found["width", "gd", activation, k, 2].params
            assert descent["step_size"] == 1e-4 and descent["start_scale"] == 1e-3 and descent["steps"] == 40_000
        for d in (2, 10):
            deep = found["depth", "guess_check", activation, 5, d]
            assert len(deep.seeds) == 16 and deep.params["tolerance"] == 0.0035 and deep.params["normalised"]
    assert {found["depth", "gd", "linear", 5, d].params["start_scale"] for d in (2, 3, 4)} == {1e-3}
    assert found["depth", "gd", "linear", 5, 6].params["start_scale"] == 0.1
    assert found["depth", "gd", "linear", 5, 10].params["start_scale"] == 0.2
    assert found["depth", "gd", "linear", 5, 10].params["step_size"] == 0.01
    for experiment in ("width_rank2", "depth_rank2"):
        both = [v.params for key, v in found.items() if key[0] == experiment and key[1] == "guess_check"]
        assert both and all(p["rank"] == 2 and p["measurements"] == 22 for p in both)
    assert all(v.params["tolerance"] == 0.01 for key, v in found.items() if key[:2] == ("depth_rank2", "guess_check"))
    assert all(v.params["prior"] == "uniform" for key, v in found.items() if key[0].endswith("uniform"))
    assert all(v.params["task"] == "completion" for key, v in found.items() if key[0].endswith("completion"))


def test_the_ways_that_are_timed_do_the_same_thing():
    from descent.papers.guesscheck.cost import official, plain
    from descent.papers.guesscheck.factorisation import Network
    from descent.papers.guesscheck.problem import Task, instance

    task = Task(*(x.float() for x in instance(STREAMS, (702,), task="sensing", rank=1, measurements=15)))
    for network in (Network(5, 5, 2, 5), Network(5, 5, 4, 5, "tanh", normalised=True)):
        one = official(task, network, 4000, 0.2, torch.Generator().manual_seed(0))
        two = plain(task, network, 4000, 0.2, torch.Generator().manual_seed(0))
        assert int(one[0]) == two[0] > 10 and one[1].item() == pytest.approx(two[1].item(), rel=1e-4)


SAMPLERS = {
    "literal": ("guessing", ("tolerance", "batch", "fan_out", "noise")),
    "importance": ("importance", ("tolerance", "batch", "pilot")),
    "subset": (
        "subset",
        ("tolerance", "chains", "replicates", "share", "sweeps", "proposals", "burn_in", "kept", "thin"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_gets_the_settings_of_the_card(sampler, monkeypatch):
    """And stops after as many steps as make `guesses`, `draws` or `rounds`."""
    from descent.papers.guesscheck.factorisation import Network
    from descent.papers.guesscheck.problem import instance
    from descent.papers.guesscheck.sampled import guess_check

    own = {
        "sampler": sampler, "least": 3.0, "tolerance": 0.3, "guesses": 250, "batch": 48, "noise": "device", "fan_out": 5, "draws": 130,
        "pilot": 40, "chains": 16, "replicates": 3, "share": 0.4, "sweeps": 6, "proposals": 2, "burn_in": 3, "kept": 5, "thin": 3,
        "rounds": 11,
    }  # fmt: skip
    name, names = SAMPLERS[sampler]
    module = importlib.import_module(f"descent.papers.guesscheck.{name}")
    real, seen = getattr(module, name), []
    monkeypatch.setattr(module, name, lambda *a, **settings: seen.append(settings) or real(*a, **settings))
    task = instance(STREAMS, (500,), task="sensing", rank=1, measurements=15)
    run = guess_check(task, Network(5, 5, 2, 20), STREAMS, (500,), **own)
    assert seen == [{name: own[name] for name in names}]
    # 9 prefixes with 5 last layers are 45 guesses a step; 48 draws a step.
    assert run.steps == {"literal": 6, "importance": 3, "subset": 11}[sampler] and list(run.at) == [run.steps]
    assert (run.finished is not None) == (sampler == "subset")


def test_the_prior_is_drawn_where_its_card_says(monkeypatch):
    from descent.papers.guesscheck import guessing
    from descent.papers.guesscheck.factorisation import Network
    from descent.papers.guesscheck.problem import instance
    from descent.papers.guesscheck.sampled import prior

    real, seen = guessing.guessing, []
    monkeypatch.setattr(guessing, "guessing", lambda *a, **settings: seen.append(settings) or real(*a, **settings))
    task = instance(STREAMS, (500,), task="sensing", rank=1, measurements=15)
    networks = [Network(5, 5, 2, 5), Network(5, 5, 2, 5, "tanh")]
    run = prior(task, networks, STREAMS, (500,), guesses=100, batch=30, noise="device")
    assert seen == [{"tolerance": 1.0, "batch": 30, "noise": "device"}] * 2 and run.steps == 4
    assert prior(task, networks, STREAMS, (500,), guesses=20, batch=30, noise="host").steps == 1


@pytest.mark.parametrize("deep", [False, True])
def test_every_network_of_a_batch_starts_at_its_own_scale(deep):
    from descent.papers.guesscheck.factorisation import Network
    from descent.papers.guesscheck.problem import instance
    from descent.papers.guesscheck.sweep import gd

    task = instance(STREAMS, (500, 501), task="sensing", rank=1, measurements=15)
    networks, same = [Network(5, 5, 2, 5), Network(5, 5, 2, 5)], {"step_size": 0.01, "steps": 30, "points": 3}

    def start(nets, scales):
        run = gd(task, nets, deep, STREAMS, (500, 501), start_scale=scales, **same)
        assert run.steps == 30 and run.at[-1] == 30
        return run.start.layers if deep else (*run.start.first, *run.start.last)

    for both, one, two in zip(
        start(networks, [0.1, 0.3]), start(networks[:1], [0.1]), start(networks[:1], [0.3]), strict=True
    ):
        torch.testing.assert_close(both, torch.cat([one, two]))
        assert not torch.equal(one, two)


def test_a_timed_call_of_a_sampler_is_what_the_module_says():
    """`batch` guesses, `draws` weighted draws 500 at a time, or a whole run of subset simulation; new numbers every time."""
    from descent.core.context import Context
    from descent.papers.guesscheck import subset
    from descent.papers.guesscheck.cost import workload

    context = Context(torch.device("cpu"), STREAMS, {})
    few = {"batch": 600, "draws": 1500, "tolerance": 0.16, "chains": 16, "replicates": 2, "kept": 2, "burn_in": 1}

    def calls(way):
        [variant] = job(("guess_check", (500,), {**few, "width": 20, "way": way})).variants
        call = workload(variant, context)
        return call(), call()

    for way, made in (("literal", 600), ("importance", 1500)):
        one, two = calls(way)
        assert made == (one.guesses if way == "literal" else one.draws).item() and one.error != two.error
    one, two = calls("subset")
    assert subset.finished(one, burn_in=1, kept=2).all() and not torch.equal(one.z, two.z)
    assert one.rounds.min() > 3 and one.z.shape[2] == 32
