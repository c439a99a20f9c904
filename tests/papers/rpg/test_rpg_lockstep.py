"""lockstep.py and control.py: independence of the batch, exact repeats, resuming, ragged schedules, devices' rules, broken runs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from descent.core.checkpoint import FileCheckpoint
from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.papers.rpg import LQR, CartPole, LinearGaussian, ascend, gpomdp, page, rpg
from descent.papers.rpg.control import METHODS, policy_of, problem_of
from descent.papers.rpg.lockstep import Entry, Noise
from descent.papers.rpg.method import Draw
from descent.papers.rpg.room import ROOM
from descent.runner.run import perform

F64 = {"dtype": torch.float64}
PROBLEM = dict(environment="cartpole", horizon=40, discount=1.0, variance=0.3, policy="linear", hidden=32, block=16)
TAKES = {name: {"budget": 130} | ({"batch": 5} if "batch" in ROOM.methods[name].settings else {}) for name in METHODS}
for small in ("svrpg", "srvrpg", "page", "def"):
    TAKES[small] |= {"snapshot_batch": 30, "mini_batch": 4}
TAKES["svrpg"]["epoch"] = TAKES["srvrpg"]["epoch"] = 5
SEEDS = (500, 501, 502)


def context():
    return Context(torch.device("cpu"), Streams("rpg"), {})


def variant(method, seeds=SEEDS, **changes):
    return Variant(method, {}, {**PROBLEM, **TAKES[method], **changes}, seeds, takes=ROOM.methods[method].settings)


def job(*variants):
    return Job("rpg", "base", "all", "smoke", "train", "descent.papers.rpg.control", (), variants)


def table(*variants, **options):
    j = job(*variants)
    return perform(j, **options).frame(j).set_index(["method", "seed", "step", "metric"])["value"]


def test_every_declared_method_can_be_built_with_what_it_declares():
    for name, card in ROOM.methods.items():
        defaults = {s: ROOM.settings[s].default for s in card.settings}
        assert METHODS[name](LinearGaussian(4), **defaults)


@pytest.fixture(scope="module")
def everyone():
    return table(*(variant(name) for name in METHODS))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_does_not_notice_the_others_of_its_batch(everyone, name):
    alone = table(variant(name))
    together = everyone[everyone.index.get_level_values("method") == name]
    assert len(alone) == len(together)
    np.testing.assert_allclose(alone.sort_index(), together.sort_index(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_does_not_notice_the_others_of_its_batch(everyone, name):
    alone = table(variant(name, seeds=(501,)))
    np.testing.assert_allclose(alone, everyone.loc[alone.index], rtol=1e-9, atol=1e-9)


def test_methods_meet_the_same_random_numbers():
    """The first policies are alike, so the first batch is; afterwards the j-th trajectory of a seed has its own numbers."""
    returns = table(variant("rpg"), variant("gpomdp"), variant("mis")).xs("mean_return", level="metric")
    first = returns[returns.index.get_level_values("step") == 5]
    assert first.groupby("seed").nunique().tolist() == [1, 1, 1] and first.nunique() == 3
    second = returns[returns.index.get_level_values("step") == 10]
    assert second.groupby("seed").nunique().max() > 1 or second.nunique() > 1


def test_a_trajectory_s_numbers_depend_on_its_seed_and_its_number_alone():
    problem, policy = CartPole(horizon=3), LinearGaussian(4)
    entries = [
        Entry(m, METHODS[m](policy, **takes), (500, 501), 60, torch.zeros(2, 4, **F64))
        for m, takes in {
            "gpomdp": {"batch": 4},
            "rpg": {"batch": 7},
            "page": {"snapshot_batch": 9, "mini_batch": 2},
        }.items()
    ]
    schedules = [e.method.schedule(e.budget, e.seeds, lambda s: np.random.default_rng(s)) for e in entries]
    noise, seen = Noise(context(), problem, entries, schedules, 5), {}
    noise._most = 2  # blocks are thrown away and drawn again
    for k in range(max(len(s.sizes) for s in schedules)):
        update, first = noise.draw(k, 1), 0
        for schedule in schedules:
            for _, n, members in schedule.parts(k):
                for s in members.tolist():
                    at = int(schedule.collected[k, s] - n)
                    for j in range(n):
                        numbers = (
                            *update.normals[0, :, 0, first + j].tolist(),
                            *update.start[0, :, first + j].tolist(),
                        )
                        seen.setdefault((s, at + j), set()).add(numbers)
                    first += n
    assert {key[1] for key in seen} >= set(range(60))
    assert all(len(numbers) == 1 for numbers in seen.values())
    assert len({next(iter(numbers)) for numbers in seen.values()}) == len(seen)


def test_the_block_of_random_numbers_is_part_of_a_run():
    one, two = (table(variant("rpg", block=b)).xs("mean_return", level="metric") for b in (10, 20))
    assert not one.equals(two)


@pytest.mark.parametrize("name", METHODS)
def test_the_trajectories_add_up(everyone, name):
    own = everyone[everyone.index.get_level_values("method") == name]
    fresh = own.xs("fresh", level="metric")
    for seed in SEEDS:
        rows = fresh.xs(seed, level="seed").sort_index()
        assert rows.cumsum().tolist() == rows.index.get_level_values("step").tolist()
        assert 130 <= rows.sum() < 130 + 30
    returns = own.xs("mean_return", level="metric")
    assert ((returns >= 1) & (returns <= 40)).all() and len(returns) == len(fresh)


def test_coins_differ_between_seeds_and_budgets_are_kept_apart(everyone):
    own = everyone.xs("page", level="method").xs("fresh", level="metric")
    paths = {tuple(own.xs(seed, level="seed").sort_index()) for seed in SEEDS}
    assert len(paths) > 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 7, 23])
def test_killed_and_resumed_gives_the_same_bytes(tmp_path, everyone, after):
    class Dying(FileCheckpoint):
        left = after

        def save(self, *args, **kwargs):
            super().save(*args, **kwargs)
            self.left -= 1
            if not self.left:
                raise Killed

    variants = [variant(name) for name in METHODS]
    with pytest.raises(Killed):
        table(*variants, checkpoint=Dying(tmp_path / "c", "key", every=0))
    resumed = table(*variants, checkpoint=FileCheckpoint(tmp_path / "c", "key", every=0))
    assert resumed.equals(everyone)


def test_the_regret_of_the_lqr_is_exact_and_falls():
    changes = dict(environment="lqr", horizon=20, variance=0.25, budget=400, step_size=0.02)
    found = table(variant("rpg", **changes)).xs("regret", level="metric")
    assert (found > 0).all()
    last = found[found.index.get_level_values("step") == 400]
    assert (last < 0.5 * (27.4414480264 - 9.7611722050)).all()


def test_a_broken_policy_is_recorded_as_diverged_and_stays_alone():
    problem, policy = CartPole(horizon=10), LinearGaussian(4)
    start = torch.zeros(2, 4, **F64)
    start[0] = torch.inf
    curves = ascend(context(), problem, policy, [Entry("rpg", rpg(policy, window=2, batch=3), (500, 501), 12, start)])
    returns = curves["rpg"].values["mean_return"]
    assert np.isnan(returns[:, 0]).all() and np.isfinite(returns[:, 1]).all()


def test_a_library_run_needs_no_job():
    problem, policy = LQR(), LinearGaussian(2, variance=0.25)
    methods = {"RPG": rpg(policy, window=4, batch=5), "PG": gpomdp(policy, batch=5), "PAGE": page(policy)}
    entries = [Entry(name, m, (500, 501), 200, torch.zeros(2, 2, **F64)) for name, m in methods.items()]
    curves = ascend(context(), problem, policy, entries, watch=lambda theta: {"size": theta.norm(dim=-1)})
    assert curves["RPG"].values["size"].shape == (40, 2) and curves["RPG"].theta.shape == (2, 2)
    assert curves["PG"].schedule.collected[-1].tolist() == [200, 200]


def test_draws_select_and_replace_their_members():
    values = torch.arange(6.0).view(3, 2)
    some, everyone = Draw(False, 1, 2, torch.tensor([2, 0])), Draw(False, 1, 3, None)
    assert some.of(values).tolist() == [[4, 5], [0, 1]] and everyone.of(values) is values
    assert some.put(values, torch.zeros(2, 2)).tolist() == [[0, 0], [2, 3], [0, 0]]


def test_an_unknown_environment_is_refused_in_one_sentence():
    with pytest.raises(
        SettingError, match="`environment` must be cartpole, lqr, pendulum, swimmer or cheetah, got 'walker'"
    ):
        problem_of({**PROBLEM, "environment": "walker"}, torch.device("cpu"))


def test_a_policy_fits_its_problem():
    problem = SimpleNamespace(state_size=8, action_size=2)
    linear = policy_of({**PROBLEM, "environment": "swimmer"}, problem, torch.device("cpu"))
    network = policy_of({**PROBLEM, "environment": "swimmer", "policy": "network"}, problem, torch.device("cpu"))
    assert (linear.size, linear.action_size, network.size) == (16, 2, 8 * 32 + 32 * 32 + 32 * 2)
    assert linear.variance == network.variance == 0.3


def test_the_area_and_the_final_return_are_weighted_by_trajectories(everyone):
    own = everyone.xs("svrpg", level="method").xs(501, level="seed")
    returns, fresh = (own.xs(m, level="metric").sort_index() for m in ("mean_return", "fresh"))
    assert own.xs("auc", level="metric").item() == pytest.approx(np.average(returns, weights=fresh))
    late = returns.index > 0.9 * returns.index[-1]
    assert own.xs("final_return", level="metric").item() == pytest.approx(
        np.average(returns[late], weights=fresh[late])
    )


def test_variants_of_two_problems_in_one_block():
    found = table(variant("rpg"), replace(variant("gpomdp"), params={**variant("gpomdp").params, "horizon": 20}))
    returns = found.xs("mean_return", level="metric")
    assert returns.xs("gpomdp", level="method").max() <= 20 < returns.xs("rpg", level="method").max()
