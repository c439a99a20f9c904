"""The room's jobs at smoke: records, privacy ledger, resume, independence of seeds, and nothing private kept."""

import importlib
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dualpriv_world import recipe

from descent.config.model import StudyConfig
from descent.config.plan import make_plan
from descent.core.checkpoint import FileCheckpoint
from descent.core.context import Need
from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.dualpriv import cost, footprint
from descent.papers.dualpriv.auditing import canaries
from descent.papers.dualpriv.cost import bench
from descent.papers.dualpriv.decoder import Shape
from descent.papers.dualpriv.footprint import Counting
from descent.papers.dualpriv.methods import METHODS
from descent.papers.dualpriv.model import Sizes, encode
from descent.papers.dualpriv.pretraining import named
from descent.papers.dualpriv.room import ROOM
from descent.papers.dualpriv.training import fusion_std, open_ledger
from descent.papers.dualpriv.world import World, bases_of
from descent.privacy import noise_multiplier
from descent.runner.run import perform

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def plan():
    study = StudyConfig(scale="smoke", papers=["dualpriv"], seeds="dev", tier="extended", bench=True)
    return make_plan(ROOT, study, everything=True)


@pytest.fixture(scope="module")
def data(digits):
    images, labels = digits
    return {"digits": {"images": (images * 16).astype(np.uint8), "labels": labels.astype(np.uint8)}}


@pytest.fixture(scope="module")
def needs(plan, data):
    """Outputs of the jobs that others need, by job id."""
    done = {}
    for job in plan.of("dualpriv", "pretrain"):
        records = perform(job, data=data)
        done[job.id] = Need(records.frame(job), records.arrays)
    return done


def do(plan, data, needs, experiment, block, **options):
    """The job of this block; or of a job that does all methods, the one of this name."""
    [job] = [j for j in plan.of("dualpriv", experiment) if j.block in (block, "all")]
    job = replace(job, variants=tuple(v for v in job.variants if block in (job.block, v.method)))
    own = {name: needs[ids[0]] for name, ids in job.needs.items() if ids[0] in needs}
    variants = (replace(v, tuned={}, params={**dict.fromkeys(v.tuned, 0.1), **v.params}) for v in job.variants)
    job = replace(job, variants=tuple(variants))
    return job, perform(job, data=data, needs=own, **options)


@pytest.mark.parametrize(
    ("experiment", "block"),
    [
        ("accuracy", "dual"), ("accuracy", "dpsgd"), ("accuracy", "dpzo"), ("ablation", "all"),
        ("audit", "dual"), ("audit", "dpsgd"), ("game", "all"), ("mechanism", "all"), ("stress", "all"), ("adam", "dual_adam"),
        ("tokens", "all"), ("footprint", "all"), ("footprint_7b", "all"),
    ],
)  # fmt: skip
def test_a_job_gives_declared_metrics_and_the_same_bytes_again(plan, data, needs, experiment, block):
    job, records = do(plan, data, needs, experiment, block)
    frame = records.frame(job)
    assert set(frame["metric"]) <= set(ROOM.metrics)
    assert set(frame["method"]) == {v.method for v in job.variants}
    finite = np.isfinite(frame["value"])
    # epsilon = inf lies beyond every number; everything else is one.
    assert set(frame.loc[~finite, "metric"]) <= {"epsilon_spent", "epsilon_numerical"}
    assert (frame.loc[~finite, "status"] == "censored").all() and (frame.loc[finite, "status"] == "ok").all()
    again = do(plan, data, needs, experiment, block)[1]
    assert frame.equals(again.frame(job))
    assert all(np.array_equal(records.arrays[n], again.arrays[n]) for n in records.arrays)


def test_nothing_private_is_kept(plan, data, needs):
    """No array or metric has an entry a private record, a canary or a scene of the test pool."""
    private = {512, 50, 20, 4}
    for experiment, block in (
        ("accuracy", "dual"),
        ("ablation", "m2"),
        ("audit", "dual"),
        ("game", "all"),
        ("mechanism", "all"),
    ):
        job, records = do(plan, data, needs, experiment, block)
        for name, array in records.arrays.items():
            assert name.startswith(("kept: ", "roc: ")) and not private & set(array.shape)
        frame = records.frame(job)
        assert frame.groupby(["method", "metric", "seed"]).size().max() <= 16
    for need in needs.values():
        assert set(need.arrays) == {"base", "sizes", "shown patches", "shown attention"}


def test_the_ledger_is_recorded_beside_every_private_run(plan, data, needs):
    job, records = do(plan, data, needs, "accuracy", "dual")
    frame = records.frame(job).set_index("metric")["value"]
    sigma = noise_multiplier(3.0, 64 / 512, 4, 1e-5)
    assert frame["noise_multiplier"] == sigma and frame["epsilon_spent"] <= 3 and frame["delta"] == 1e-5
    assert frame["sampling_rate"] == 64 / 512 and frame["noisy_steps"] == 4
    assert 0 < frame["epsilon_numerical"] < frame["epsilon_spent"]


def test_a_run_whose_accountant_and_noise_disagree_does_not_start(plan, data, needs):
    [job] = [j for j in plan.of("dualpriv", "accuracy") if j.block == "dual"]
    [variant] = job.variants
    quiet = replace(variant, params={**variant.params, "noise_multiplier": 0.3})
    with pytest.raises(SettingError, match=r"noise multiplier 0\.3 over 4 steps .* more than the budget 3 at delta"):
        perform(replace(job, variants=(quiet,)), data=data, needs={"base": needs["dualpriv/pretrain/base-content"]})


def test_killed_and_resumed_gives_the_same_bytes(plan, data, needs, tmp_path):
    """A checkpoint after the first block, then the rest."""
    [job] = [j for j in plan.of("dualpriv", "accuracy") if j.block == "dual"]
    [variant] = job.variants
    variant = replace(variant, params={**variant.params, "steps": 25})
    job = replace(job, variants=(variant,))
    own = {"base": needs["dualpriv/pretrain/base-content"]}
    whole = perform(job, data=data, needs=own)

    class Killed(Exception):
        pass

    class OneSave(FileCheckpoint):
        saves = 0

        def save(self, *arguments, **options):
            super().save(*arguments, **{**options, "force": True})
            OneSave.saves += 1
            if OneSave.saves == 2:
                raise Killed

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        perform(job, data=data, needs=own, checkpoint=OneSave(path, "key", 0.0))
    resumed = perform(job, data=data, needs=own, checkpoint=FileCheckpoint(path, "key", 0.0))
    assert whole.frame(job).equals(resumed.frame(job))
    assert all(np.array_equal(whole.arrays[n], resumed.arrays[n]) for n in whole.arrays)


def test_an_audited_run_and_its_twin_do_not_share_a_checkpoint(plan, data, needs, tmp_path):
    """The audit trains its variants one after another: each from its own start, whatever an earlier one has saved."""
    [job] = [j for j in plan.of("dualpriv", "audit") if j.block == "dual"]
    variants = tuple(replace(v, seeds=(500, 502)) for v in job.variants)
    job = replace(job, variants=variants)
    own = {"base": needs["dualpriv/pretrain/base-content"]}
    saved = perform(job, data=data, needs=own, checkpoint=FileCheckpoint(tmp_path / "checkpoint.pt", "key", 0.0))
    plain = perform(job, data=data, needs=own)
    assert plain.frame(job).equals(saved.frame(job))
    areas = plain.frame(job).query("metric == 'mia_auc_low' and noise_share == 0")["value"]
    assert areas.nunique() == 2


def test_a_seed_does_not_notice_the_others_of_its_batch(plan, data, needs):
    for block in ("dual", "dpzo"):
        [job] = [j for j in plan.of("dualpriv", "accuracy") if j.block == block]
        [variant] = job.variants
        own = {"base": needs["dualpriv/pretrain/base-content"]}

        def losses(seeds, job=job, variant=variant, own=own):
            params = {"step_size": 0.1, **variant.params}
            alone = replace(job, variants=(replace(variant, seeds=seeds, tuned={}, params=params),))
            frame = perform(alone, data=data, needs=own).frame(alone)
            return frame[(frame["metric"] == "loss") & (frame["seed"] == 501)]["value"].to_numpy()

        np.testing.assert_allclose(losses((500, 501, 502)), losses((501,)), rtol=1e-5)


PRIVACY = {
    "epsilon": "3", "delta": 1e-5, "records": 512, "batch": 64, "steps": 4, "accountant": "rdp", "noise_multiplier": None,
}  # fmt: skip


def test_fusion_noise_has_the_size_of_its_reading():
    ledger = open_ledger(recipe("dual", clip_norm=2.0), PRIVACY)
    sizes = {
        kind: fusion_std(ledger, recipe("dual", contextual=4, fuse_noise=kind))
        for kind in ("none", "sigmaC", "sigmaC/B")
    }
    assert sizes == {"none": 0.0, "sigmaC": 2 * ledger.noise_multiplier, "sigmaC/B": 2 * ledger.noise_multiplier / 64}
    for name, more in (("dpsgd", {}), ("no_fusion", {}), ("dual", {"contextual": 0})):
        assert fusion_std(ledger, recipe(name, fuse_noise="sigmaC", **{"contextual": 4, **more})) == 0


def test_the_ledger_clips_by_the_setting_of_the_method_s_order():
    for name in METHODS:
        expected = 3.0 if name in ("dpzo", "dpzo_m1") else 2.0
        assert open_ledger(recipe(name, clip_norm=2.0, slope_clip=3.0), PRIVACY).clip_norm == expected


def test_each_control_changes_one_part_of_dual_priv():
    dual, tokens, blocks = recipe("dual"), {"tokens", "dominant", "contextual", "fuse_noise"}, {"blocks", "keep"}
    changes = {
        "m1": blocks, "m2": tokens, "no_fusion": {"contextual"}, "random_tokens": {"tokens"}, "random_blocks": {"blocks"},
        "l2_blocks": {"blocks"}, "low_rank": blocks, "dual_adam": {"optimiser"}, "dpsgd": blocks | tokens,
        "dpadam": blocks | tokens | {"optimiser"},
    }  # fmt: skip
    for method, parts in changes.items():
        assert {f.name for f in fields(dual) if getattr(recipe(method), f.name) != getattr(dual, f.name)} == parts
    assert (dual.tokens, dual.blocks, dual.optimiser) == ("cls", "rms", "sgd")
    assert [recipe(m).blocks for m in ("random_blocks", "l2_blocks", "m1")] == ["random", "l2", None]
    assert recipe("random_tokens").tokens == "random" and recipe("m2").tokens == "all" and recipe("m1").keep == 1
    assert recipe("dual_adam").optimiser == recipe("dpadam").optimiser == "adam" and recipe("no_fusion").contextual == 0
    plain, pruned = recipe("dpzo"), recipe("dpzo_m1")
    assert {f.name for f in fields(plain) if getattr(plain, f.name) != getattr(pruned, f.name)} == tokens
    assert set(METHODS) == {*changes, "dual", "dpzo", "dpzo_m1"}


def test_a_recipe_holds_the_settings_that_it_was_given():
    given = {"clip_norm": 0.7, "slope_clip": 0.7, "micro_batch": 3, "dominant": 5, "contextual": 2, "fuse_noise": "sigmaC", "keep": 0.6,
             "probe": 0.02, "step_size": 0.3}  # fmt: skip
    for name in METHODS:
        made = recipe(name, **given)
        for setting in ROOM.methods[name].settings:
            kept = getattr(made, "clip_norm" if setting == "slope_clip" else setting)
            assert kept == (0 if (name, setting) == ("no_fusion", "contextual") else given[setting]), (name, setting)


def test_a_recipe_hands_its_settings_to_the_method(monkeypatch):
    def kept(problem, ledger, **settings):
        return settings

    monkeypatch.setattr("descent.papers.dualpriv.first_order.dpsgd", kept)
    monkeypatch.setattr("descent.papers.dualpriv.zeroth_order.dpzero", kept)
    first = {"step_size": 0.3, "micro_batch": 3, "keep": 1.0, "block_score": "rms", "optimiser": "sgd"}
    changed = {
        "dpsgd": {}, "m1": {}, "low_rank": {}, "m2": {"keep": 0.6}, "dual": {"keep": 0.6}, "no_fusion": {"keep": 0.6},
        "random_tokens": {"keep": 0.6}, "random_blocks": {"keep": 0.6, "block_score": "random"},
        "l2_blocks": {"keep": 0.6, "block_score": "l2"}, "dpadam": {"optimiser": "adam"},
        "dual_adam": {"keep": 0.6, "optimiser": "adam"},
    }  # fmt: skip
    for name in METHODS:
        expected = {**first, **changed[name]} if name in changed else {"step_size": 0.3, "probe": 0.02}
        made = recipe(name, step_size=0.3, micro_batch=3, keep=0.6, probe=0.02)
        assert made.on("a problem", "a ledger") == expected, name


def test_what_runs_under_a_name_is_the_builder_that_its_card_names():
    assert set(METHODS) == {name for name, card in ROOM.methods.items() if card.builder}
    for name, build in METHODS.items():
        module, _, function = ROOM.methods[name].builder.partition(":")
        assert build is getattr(importlib.import_module(f"descent.papers.dualpriv.{module}"), function), name


def test_the_base_job_examines_pruning_on_public_scenes(needs):
    frame = needs["dualpriv/pretrain/base-content"].records
    assert set(frame["seed"]) == {500, 501}
    frame = frame[frame["seed"] == 500].set_index("metric")["value"]
    assert frame["digit_recall_random"] == pytest.approx(8 / 36, abs=0.1)
    assert 0 <= frame["public_accuracy_pruned"] <= 1
    stress = needs["dualpriv/pretrain/base-spatial"].records["metric"]
    assert "public_row_accuracy_full" in set(stress)
    arrays = needs["dualpriv/pretrain/base-content"].arrays  # the scenes that the figure shows are the first base's
    sizes = Sizes(*(int(size) for size in arrays["sizes"]))
    weights = named(sizes, torch.as_tensor(arrays["base"][0]))
    seen = encode(sizes, weights, torch.as_tensor(arrays["shown patches"]))
    np.testing.assert_allclose(arrays["shown attention"], seen.attention.numpy(), atol=1e-6)


CPU = SimpleNamespace(device=torch.device("cpu"), streams=Streams("dualpriv"))


def test_timed_steps_run(plan):
    [job] = plan.of("dualpriv", "cost")
    steps = bench(job, CPU)
    assert set(steps) == set(range(len(job.variants)))
    for step in steps.values():
        step()


def test_timed_steps_of_the_papers_size_share_their_weights_and_move_the_adapter(monkeypatch):
    """At a tiny size of the same shape; on a GPU the same program runs at 7B."""
    monkeypatch.setattr(footprint, "LLAVA", Shape(width=16, hidden=24, heads=2, layers=2, gated=True))
    monkeypatch.setitem(footprint.COUNTED, "plain", Counting(rank=4, text=5))
    paper = make_plan(ROOT, StudyConfig(scale="paper", papers=["dualpriv"], bench=True), everything=True)
    [job] = paper.of("dualpriv", "cost_7b")
    job = replace(job, variants=tuple(v for v in job.variants if v.params["micro_batch_size"] == 2))
    cases = []
    build = cost._large_step
    monkeypatch.setattr(cost, "_large_step", lambda case, variant: cases.append(case) or build(case, variant))
    steps = bench(job, CPU)
    assert [v.method for v in job.variants] == ["dual", "dpsgd", "dpzo", "dpzo_m1"]
    assert [case.x.shape[2] for case in cases] == [221 + 5, 576 + 5, 576 + 5, 221 + 5]
    assert all(case.frozen is cases[0].frozen and case.theta is cases[0].theta for case in cases)
    for step in steps.values():
        before = cases[0].theta.clone()
        with torch.no_grad():
            step()
        assert cases[0].theta.isfinite().all() and not torch.equal(cases[0].theta, before)


def test_every_seed_is_attacked_on_scenes_and_answers_of_its_own(needs, data):
    """An interval over seeds that all attacked the same scenes would leave out the choice of scenes."""
    base = needs["dualpriv/pretrain/base-content"].arrays
    world = World.load(base, data["digits"], Streams("dualpriv"), "content", CPU.device)
    first, second, again = (canaries(world, 100, seed) for seed in (500, 501, 500))
    assert not torch.equal(first.encoded.hidden, second.encoded.hidden) and not torch.equal(first.answer, second.answer)
    assert torch.equal(first.encoded.hidden, again.encoded.hidden) and torch.equal(first.answer, again.answer)
    assert set(first.answer.tolist()) <= set(range(20, 32)) and len(set(first.answer.tolist())) > 8


def test_an_audited_seed_does_not_notice_the_others_of_its_base(plan, data, needs):
    """All seeds of a base are one program, each with records, coins and answers of its own."""
    [job] = [j for j in plan.of("dualpriv", "audit") if j.block == "dual"]
    own = {"base": needs["dualpriv/pretrain/base-content"]}

    def frame(*seeds):
        some = replace(job, variants=tuple(replace(v, seeds=seeds) for v in job.variants))
        return perform(some, data=data, needs=own).frame(some)

    whole = frame(500, 501, 502, 504)
    for seed in (501, 502, 504):
        alone, beside = (f[f["seed"] == seed].reset_index(drop=True) for f in (frame(seed), whole))
        assert alone.drop(columns="value").equals(beside.drop(columns="value"))
        np.testing.assert_allclose(alone["value"], beside["value"], rtol=1e-5, atol=0.02)
    areas = whole[(whole["metric"] == "mia_auc") & (whole["noise_share"] == 1)]["value"]
    assert areas.nunique() == 4


def test_each_seed_trains_on_its_own_base(plan, data, needs):
    """Seed s on base s modulo their number, and on no other: with the bases exchanged the others' numbers come out."""
    arrays = needs["dualpriv/pretrain/base-content"].arrays
    assert arrays["base"].shape[0] == 2 and not np.array_equal(*arrays["base"])
    assert bases_of(arrays, (500, 501, 502)) == [(0, (500, 502)), (1, (501,))]
    [job] = [j for j in plan.of("dualpriv", "accuracy") if j.block == "dual"]
    [variant] = job.variants
    job = replace(job, variants=(replace(variant, seeds=(500, 501)),))

    def losses(bases):
        need = Need(needs["dualpriv/pretrain/base-content"].records, {**arrays, "base": bases})
        frame = perform(job, data=data, needs={"base": need}).frame(job)
        return frame[(frame["metric"] == "loss") & (frame["step"] == 4)].sort_values("seed")["value"].to_numpy()

    both, swapped = losses(arrays["base"]), losses(arrays["base"][::-1])
    first, second = (losses(np.stack([arrays["base"][i]] * 2)) for i in (0, 1))
    np.testing.assert_allclose(both, [first[0], second[1]], rtol=1e-5)
    np.testing.assert_allclose(swapped, [second[0], first[1]], rtol=1e-5)
    assert abs(both - swapped).min() > 1e-4


def test_the_default_dtype_of_the_user_changes_nothing(plan, data, needs):
    jobs = [
        ("accuracy", "dual"),
        ("accuracy", "dpzo"),
        ("ablation", "random_tokens"),
        ("audit", "dual"),
        ("mechanism", "all"),
    ]
    expected = [do(plan, data, needs, *which)[1] for which in jobs]
    [first] = [j for j in plan.of("dualpriv", "pretrain") if j.block == "base-content"]
    torch.set_default_dtype(torch.float64)
    try:
        base = perform(first, data=data)
        found = [do(plan, data, needs, *which)[1] for which in jobs]
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.array_equal(base.arrays["base"], needs["dualpriv/pretrain/base-content"].arrays["base"])
    for one, other, which in zip(expected, found, jobs, strict=True):
        job = do(plan, data, needs, *which)[0]
        assert one.frame(job).equals(other.frame(job)), which


def test_no_noise_is_an_infinite_epsilon(plan, data, needs):
    [job] = [j for j in plan.of("dualpriv", "accuracy") if j.block == "dual"]
    [variant] = job.variants
    free = replace(job, variants=(replace(variant, params={**variant.params, "epsilon": "inf"}),))
    frame = perform(free, data=data, needs={"base": needs["dualpriv/pretrain/base-content"]}).frame(free)
    spent = frame[frame["metric"].isin(["epsilon_spent", "epsilon_numerical"])]
    assert len(spent) == 2 and (spent["value"] == np.inf).all() and (spent["status"] == "censored").all()


def test_a_real_checkpoint_is_not_run_until_its_folders_are_named(tmp_path):
    paper = make_plan(ROOT, StudyConfig(scale="paper", papers=["dualpriv"]))
    assert not paper.of("dualpriv", "llava")
    reasons = {cell.reason for cell in paper.missing if cell.experiment == "llava"}
    assert len(reasons) == 1
    assert "needs a folder that is not distributed here (none is named): give `checkpoint_dir` in" in reasons.pop()
