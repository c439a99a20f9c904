"""The experiments against plain loops, one record and one step at a time: what is trained on, with which noise, and what is read.

Written from the paper's rules (docs/papers/dualpriv.md); of the room it uses only what other tests hold against slow twins (scenes, encoder, pruning, the
decoder, the start of the adapter) and none of its settings, plans, ledgers, sampling or schedules.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_dualpriv_experiments import data, do, needs, plan  # noqa: F401 (fixtures)
from test_dualpriv_lora import loss_alone, plain_linear

from descent.core.streams import Streams
from descent.papers.dualpriv import model
from descent.papers.dualpriv.decoder import decode
from descent.papers.dualpriv.lora import initial, layout
from descent.papers.dualpriv.problem import Problem, features
from descent.papers.dualpriv.scenes import ASK_DIGIT, draw_scenes, pools
from descent.papers.dualpriv.tokens import prune
from descent.privacy import noise_multiplier
from descent.runner.run import perform

STREAMS = Streams("dualpriv")
SIZES = model.Sizes()
DELTA = 1e-5


def weights_of(arrays, seed):
    """Base number (seed modulo their number), by name."""
    flat = torch.from_numpy(np.array(arrays["base"][seed % len(arrays["base"])]))
    found, at = {}, 0
    for name, shape in model.parameter_shapes(SIZES).items():
        found[name] = flat[at : at + math.prod(shape)].view(shape)
        at += math.prod(shape)
    return found


def scenes_of(digits, name, count, pool):
    images = digits["images"].astype(float) / 16
    which = getattr(pools(len(images)), pool)
    return draw_scenes(STREAMS.numpy("scenes", 0, name), images[which], digits["labels"][which], count, private=True)


def records_of(weights, scenes, name, *, pruned, fuse_std=0.0, answer=None, rank=4):
    """The records as a Problem: all tokens, or eight by attention and four fused."""
    with torch.no_grad():
        hidden, attention = model.encode(SIZES, weights, torch.from_numpy(scenes.patches))
        if pruned:
            noise = fuse_std * torch.randn(len(hidden), 4, 48, generator=STREAMS.torch("fusion noise", 0, name))
            hidden = prune(hidden, attention, 8, 4, noise if fuse_std else None)
        x = torch.cat([model.project(weights, hidden), model.embed(weights, torch.from_numpy(scenes.text))], 1)
    frozen = model.freeze(SIZES, weights)
    table = model.rotation(SIZES, "shared", hidden.shape[1])
    answer = torch.from_numpy(scenes.answer if answer is None else answer)
    return Problem(layout(SIZES.decoder, rank, 8.0), frozen, table, features(frozen, x, answer))


def first_order(problem, seed, *, steps, batch, sigma, lr, keep=1.0, kind="rms", members=None):
    """theta after every step (steps + 1, p)."""
    count = len(problem.train.answer)
    chosen = STREAMS.numpy("batches", seed, 0).random((steps, count)) < batch / count
    if members is not None:
        chosen &= members
    normal = torch.randn(steps, problem.layout.size, generator=STREAMS.torch("noise", seed, 0))
    chance = STREAMS.numpy("random blocks", seed, 0).random((steps, 24))
    theta = initial(problem.layout, [STREAMS.torch("adapter", seed)])[0]
    path = [theta]
    for t in range(steps):
        total = torch.zeros_like(theta)
        for i in np.flatnonzero(chosen[t]):
            leaf = theta.clone().requires_grad_()
            loss_alone(problem, leaf, int(i)).backward()
            total += leaf.grad / max(1.0, leaf.grad.norm().item() + 1e-6)
        update = (total + sigma * normal[t]) / batch
        parts = update.split([b.size for b in problem.layout.blocks])
        size = [-p.norm().item() / math.sqrt(p.numel()) for p in parts] if kind == "rms" else list(-chance[t])
        for m in np.argsort(size, kind="stable")[round(keep * 24) :]:
            parts[m].zero_()
        theta = theta - lr * update
        path.append(theta)
    return torch.stack(path)


def zeroth_order(problem, seed, *, steps, batch, sigma, lr, clip=4.0, probe=1e-3):
    count = len(problem.train.answer)
    chosen = STREAMS.numpy("batches", seed, 0).random((steps, count)) < batch / count
    direction = torch.randn(steps, problem.layout.size, generator=STREAMS.torch("direction", seed, 0))
    scalar = STREAMS.numpy("scalar noise", seed, 0).standard_normal((1, steps))[0]
    theta = initial(problem.layout, [STREAMS.torch("adapter", seed)])[0]
    path = [theta]
    for t in range(steps):
        z = direction[t]
        total = sigma * clip * scalar[t]
        for i in np.flatnonzero(chosen[t]):
            slope = (
                loss_alone(problem, theta + probe * z, int(i)) - loss_alone(problem, theta - probe * z, int(i))
            ) / (2 * probe)
            total += float(slope.clamp(-clip, clip))
        theta = theta - lr * total / batch * z
        path.append(theta)
    return torch.stack(path)


def losses_of(problem, theta):
    """Loss of every record, and whether it is answered rightly."""
    with torch.no_grad():
        x = problem.train.x[None]
        logits = decode(problem.layout.shape, problem.frozen, plain_linear(problem, theta), x, problem.rotation)[
            0, :, 0
        ]
        loss = torch.nn.functional.cross_entropy(logits, problem.train.answer, reduction="none")
    return loss.numpy(), (logits.argmax(-1) == problem.train.answer).numpy()


def held_against(frame, problem, path, scenes, steps, rtol):
    for step in steps:
        loss, right = losses_of(problem, path[step])
        row = frame[frame["step"] == step].set_index("metric")["value"]
        np.testing.assert_allclose(row["loss"], loss.mean(), rtol=rtol)
        assert row["accuracy"] == pytest.approx(right.mean(), abs=1.5 / len(right))
        digit = scenes.text[:, 2] == ASK_DIGIT
        assert row["digit_accuracy"] == pytest.approx(right[digit].mean(), abs=1.5 / digit.sum())
        assert row["parity_accuracy"] == pytest.approx(right[~digit].mean(), abs=1.5 / (~digit).sum())


@pytest.mark.parametrize(
    ("experiment", "block", "how"),
    [
        ("accuracy", "dual", {"pruned": True, "keep": 0.8}),
        ("accuracy", "dpsgd", {"pruned": False}),
        ("ablation", "m1", {"pruned": True}),
        ("ablation", "m2", {"pruned": False, "keep": 0.8}),
        ("ablation", "random_blocks", {"pruned": True, "keep": 0.8, "kind": "random"}),
        ("ablation", "low_rank", {"pruned": True, "rank": 3}),
    ],
)
def test_first_order_runs(plan, data, needs, experiment, block, how):  # noqa: F811
    job, records = do(plan, data, needs, experiment, block)
    frame = records.frame(job)
    [variant] = job.variants
    [seed] = variant.seeds
    weights = weights_of(needs["dualpriv/pretrain/base-content"].arrays, seed)
    sigma = noise_multiplier(3.0, 64 / 512, 4, DELTA)
    private, test = scenes_of(data["digits"], "private", 512, "private"), scenes_of(data["digits"], "test", 64, "test")
    rank = how.get("rank", 4)
    train = records_of(weights, private, "private", pruned=how["pruned"], fuse_std=sigma / 64, rank=rank)
    held = records_of(weights, test, "test", pruned=how["pruned"], rank=rank)
    more = {k: how[k] for k in ("keep", "kind") if k in how}
    path = first_order(train, seed, steps=4, batch=64, sigma=sigma, lr=1.0, **more)
    steps = (2, 4) if experiment == "accuracy" else (4,)
    held_against(frame, held, path, test, steps, 2e-4)


@pytest.mark.parametrize(("experiment", "block", "pool"), [("accuracy", "dpzo", "test"), ("tune", "all", "validation")])
def test_zeroth_order_runs(plan, data, needs, experiment, block, pool):  # noqa: F811
    """Also of the tuning: its pool, its step sizes. Its validation scenes are of the private pool."""
    [job] = [j for j in plan.of("dualpriv", experiment) if j.block == block]
    job, records = do(plan, data, needs, experiment, block)
    frame = records.frame(job)
    weights = None
    test = scenes_of(data["digits"], pool, 64, "test" if pool == "test" else "private")
    private = scenes_of(data["digits"], "private", 512, "private")
    sigma = noise_multiplier(3.0, 64 / 512, 4, DELTA)
    tried = [v for v in job.variants if v.method == "dpzo"]
    assert len(tried) == (1 if experiment == "accuracy" else 3)
    for variant in tried:
        [seed] = variant.seeds
        weights = weights_of(needs["dualpriv/pretrain/base-content"].arrays, seed)
        train = records_of(weights, private, "private", pruned=False)
        held = records_of(weights, test, pool, pruned=False)
        lr = variant.setting.get("step_size", 0.1)
        path = zeroth_order(train, seed, steps=4, batch=64, sigma=sigma, lr=lr)
        own = frame[(frame["method"] == "dpzo")]
        own = own[own["step_size"] == lr] if "step_size" in own else own
        held_against(own, held, path, test, (4,), 3e-3)


@pytest.mark.parametrize(("share", "seed"), [(1.0, 500), (0.0, 500), (1.0, 502)])
def test_the_audit_of_trained_models(plan, data, needs, share, seed):  # noqa: F811
    """Coins decide who may be drawn, answers are random code words, a low loss is a guess of having been in.

    Two seeds on one base, which are trained together, and one on the other.
    """
    [job] = [j for j in plan.of("dualpriv", "audit") if j.block == "dual"]
    job = replace(job, variants=tuple(replace(v, seeds=(500, 501, 502)) for v in job.variants))
    frame = perform(job, data=data, needs={"base": needs["dualpriv/pretrain/base-content"]}).frame(job)
    frame = frame[(frame["noise_share"] == share) & (frame["seed"] == seed)].set_index("metric")["value"]
    weights = weights_of(needs["dualpriv/pretrain/base-content"].arrays, seed)
    sigma = noise_multiplier(0.5, 16 / 50, 4, DELTA)
    coins = STREAMS.numpy("canary coins", seed).random(50) < 0.5
    private = scenes_of(data["digits"], f"canaries {seed}", 50, "private")
    secret = np.random.default_rng(123)
    words = np.concatenate([20 + secret.permutation(10), 30 + secret.permutation(2)])
    answer = STREAMS.numpy("canary answers", seed).choice(words, size=50)
    name = f"canaries {seed}"
    train = records_of(weights, private, name, pruned=True, fuse_std=sigma / 16, answer=answer)
    path = first_order(train, seed, steps=4, batch=16, sigma=share * sigma, lr=4.0, keep=0.8, members=coins)
    loss, _ = losses_of(train, path[4])
    order = np.argsort(-loss, kind="stable")
    right = coins[order[-5:]].sum() + (~coins[order[:5]]).sum()
    area = np.mean([(a < b) + 0.5 * (a == b) for a in loss[coins] for b in loss[~coins]])
    assert frame["audit_guesses"] == 10 and frame["audit_canaries"] == 50 and frame["nominal_epsilon"] == 0.5
    assert abs(frame["audit_correct"] - right) <= 1
    assert frame["mia_auc"] == pytest.approx(area, abs=0.01)
    assert frame["noise_multiplier"] == sigma


def test_untrained_models_answer_as_the_base_does(plan, data, needs):  # noqa: F811
    job, records = do(plan, data, needs, "ablation", "zero_shot")
    frame = records.frame(job)
    seed = job.variants[0].seeds[0]
    weights = weights_of(needs["dualpriv/pretrain/base-content"].arrays, seed)
    test = scenes_of(data["digits"], "test", 64, "test")
    held = records_of(weights, test, "test", pruned=False)
    loss, right = losses_of(held, initial(held.layout, [STREAMS.torch("adapter", seed)])[0])
    row = frame.set_index("metric")["value"]
    np.testing.assert_allclose(row["loss"], loss.mean(), rtol=1e-4)
    assert row["accuracy"] == right.mean()
