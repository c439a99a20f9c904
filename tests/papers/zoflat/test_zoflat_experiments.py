"""toy.py and convex.py as jobs: rows of one program, both layouts, killed and resumed, settings refused; the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.checkpoint import FileCheckpoint
from descent.core.errors import SettingError
from descent.core.job import Job, Variant
from descent.core.settings import with_defaults
from descent.core.streams import Streams
from descent.data.loaders import Dataset
from descent.papers.zoflat import convex, toy
from descent.papers.zoflat.language import clipped, measured
from descent.papers.zoflat.lifted import LiftedModel
from descent.papers.zoflat.room import ROOM
from descent.runner.run import perform

ROOT = Path(__file__).resolve().parents[3]


def variant(experiment: str, method: str, seeds=(500, 501), setting=None, **given) -> Variant:
    table = ROOM.allowed(experiment, method)
    setting = setting or {}
    given = {k: v for k, v in {**given, **setting}.items() if k in table}
    return Variant(method, setting, with_defaults(table, table, given), seeds, takes=ROOM.methods[method].settings)


def job(experiment: str, *variants: Variant) -> Job:
    module = experiment if experiment in ("toy", "encode", "language") else "convex"
    axes = tuple(variants[0].setting)
    return Job("zoflat", experiment, "all", "smoke", "train", f"descent.papers.zoflat.{module}", axes, variants)


def toy_job(seeds=(500, 501), steps=60) -> Job:
    common = {
        "steps": steps,
        "half_dimension": 4,
        "block": 7,
        "points": 9,
        "reference_step": 20,
        "tail": 5,
        "seeds": seeds,
    }
    walks = [("dd", None), ("zo", 0.3), ("zo", 0.1)]
    variants = [variant("toy", m, setting={"smoothing": s}, step_size=0.01, **common) for m, s in walks]
    gd = variant("toy", "gd", setting={"smoothing": None}, step_size=0.05, **{**common, "steps": steps // 2})
    return job("toy", gd, *variants)


def linear_job(seeds=(500, 501), **given) -> Job:
    given = {"model": "svm", "data": "small", "features": 9, "steps": 40, "block": 7, "step_size": 1e-2, "smoothing": 0.05,
             "radius": 0.1, "dense_until": 5, **given}  # fmt: skip
    return job("convex", *(variant("convex", m, seeds, **given) for m in ("gd", "zo", "dd", "sam")))


@pytest.fixture
def small(toy_data):
    """The tests' small problem as a dataset."""
    arrays = {}
    for split, x, y in zip(("train", "test"), *toy_data, strict=True):
        rows = [np.flatnonzero(row) for row in x]
        arrays |= {
            f"{split}_indptr": np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int32),
            f"{split}_indices": np.concatenate(rows).astype(np.int32), f"{split}_labels": y.astype(np.int8),
        }  # fmt: skip
    return {"small": Dataset("small", "", arrays, n_features=6)}


def test_the_loss_is_recorded_at_each_of_the_last_steps_and_the_trace_is_not():
    work = toy_job()
    frame = perform(work).frame(work).query("method == 'dd' and seed == 500")
    assert set(range(56, 61)) <= set(frame.query("metric == 'train_loss'")["step"])
    assert not {56, 57, 58} & set(frame.query("metric == 'trace'")["step"])


def test_both_layouts_and_each_method_alone_give_the_job_s_numbers(small):
    work = linear_job()
    frame = perform(work, data=small).frame(work)
    assert (frame["status"] == "ok").all()
    for other in (linear_job(layout="dense"), *(replace(work, variants=(v,)) for v in work.variants)):
        part = perform(other, data=small).frame(other)
        both = part.merge(frame, on=["method", "seed", "step", "metric"], suffixes=("", "_whole"))
        assert len(both) == len(part)
        np.testing.assert_allclose(both["value"], both["value_whole"], rtol=1e-9, atol=1e-12)


def test_methods_of_a_seed_share_lift_and_start_and_walks_share_directions(small):
    """ZO with a tiny smoothing is DD: same directions."""
    work = linear_job(smoothing=1e-6)
    frame = perform(work, data=small).frame(work)
    first = frame.query("step == 0").pivot(index=["metric", "seed"], columns="method", values="value")
    assert first.nunique(axis=1).eq(1).all()
    loss = frame.query("metric == 'train_loss'").pivot(index=["seed", "step"], columns="method", values="value")
    np.testing.assert_allclose(loss["zo"], loss["dd"], rtol=1e-6)


def test_lift_path_and_all_weights_are_one_trajectory(small):
    """`path: lift` reads the draws of `path: explicit` through A: the reduction, as jobs."""
    frames = [perform(w, data=small).frame(w) for w in (linear_job(path=p) for p in ("lift", "explicit"))]
    np.testing.assert_allclose(frames[0]["value"], frames[1]["value"], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", [500, 501])
def test_the_job_s_draws_are_the_paper_s_law(small, toy_data, seed):
    """W ~ N(0, 1) and w ~ 0.1 N(0, 1), and ZO's first 13 steps, from the streams by plain numpy."""
    (train, _), (y, _) = toy_data
    work = linear_job(path="lift")
    frame = perform(work, data=small).frame(work).query("method == 'zo' and metric == 'train_loss'")
    streams = Streams("zoflat")
    scale = train.std(0)
    x = (train - train.mean(0)) / np.where(scale > 0, scale, 1) @ streams.numpy("lift", seed).standard_normal((6, 9))
    x = np.hstack([np.ones((len(x), 1)), (x - x.mean(0)) / x.std(0)])
    w = 0.1 * streams.normal("start", (seed,), (10,))[0].numpy()
    directions = np.concatenate([streams.normal("direction", (seed,), (7, 10), k)[0].numpy() for k in (0, 1)])

    def loss(w):
        return np.mean(np.maximum(0, 1 - y * (x @ w)) ** 2)

    got = frame[frame["seed"] == seed].set_index("step")["value"]
    assert {0, 1, 8, 14} & set(got.index) >= {0, 1, 8}, "into the second block of seven"
    for step in range(14):
        if step in got.index:
            assert got[step] == pytest.approx(loss(w), rel=1e-9)
        u = directions[step]
        w = w - 1e-2 * (loss(w + 0.05 * u) - loss(w - 0.05 * u)) / 0.1 * u


def test_margins_are_made_afresh_at_every_block(small, monkeypatch):
    """A rounding error in the margins that move along dies with its block: with blocks of one step it does nothing."""
    one_step, whole = (linear_job(block=b) for b in (1, 1000))
    move = LiftedModel.move

    def frames():
        return [perform(w, data=small).frame(w).query("method == 'gd'")["value"].to_numpy() for w in (one_step, whole)]

    clean = frames()
    np.testing.assert_allclose(clean[0], clean[1], rtol=1e-10)
    monkeypatch.setattr(LiftedModel, "move", lambda *a: (w := move(*a))._replace(margins=w.margins + 1e-3))
    drifting = frames()
    np.testing.assert_array_equal(drifting[0], clean[0])
    assert np.abs(drifting[1] / clean[1] - 1).max() > 1e-3


def test_fewer_features_than_inputs_take_the_lift_by_themselves(small):
    few = linear_job(features=4)
    auto, explicit = (perform(w, data=small).frame(w) for w in (few, linear_job(features=4, path="explicit")))
    np.testing.assert_allclose(auto["value"], explicit["value"], rtol=1e-7, atol=1e-9)
    with pytest.raises(SettingError, match="convex: `features` must be at least 6 for `path: cholesky`, got 4"):
        perform(linear_job(features=4, path="cholesky"), data=small)


def test_factors_multiply_step_size_and_smoothing(small):
    plain = variant("grid", "zo", model="svm", data="small", features=9, steps=9, step_size=0.02, smoothing=0.1)
    scaled = variant("grid", "zo", model="svm", data="small", features=9, steps=9, step_size=0.01, smoothing=0.2,
                     step_factor=2.0, smoothing_factor=0.5)  # fmt: skip
    frames = [perform(w, data=small).frame(w) for w in (job("grid", plain), job("grid", scaled))]
    assert frames[0]["value"].equals(frames[1]["value"])


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "build", [toy_job, linear_job, lambda: linear_job(path="explicit")], ids=["toy", "reduced", "explicit"]
)
def test_killed_anywhere_and_resumed_gives_the_same_bytes(build, small, tmp_path):
    work = build()
    whole = perform(work, data=small).frame(work)
    for deaths in (1, 4, 9):
        saves = 0

        class Dying(FileCheckpoint):
            def save(self, *args, **kwargs):
                nonlocal saves
                super().save(*args, **kwargs)
                saves += 1
                if saves == deaths:  # noqa: B023
                    raise Killed

        path = tmp_path / str(deaths)
        with pytest.raises(Killed):
            perform(work, data=small, checkpoint=Dying(path, "key", every=0))
        resumed = perform(work, data=small, checkpoint=FileCheckpoint(path, "key", every=0))
        assert resumed.frame(work).equals(whole)


def test_a_seed_does_not_notice_the_others_of_its_batch(small):
    for build in (toy_job, linear_job):
        whole, alone = (
            perform(w, data=small).frame(w).query("seed == 502") for w in (build((500, 501, 502)), build((502,)))
        )
        np.testing.assert_allclose(whole["value"], alone["value"], rtol=1e-8, atol=1e-12)


def test_a_run_that_blows_up_is_recorded_as_diverged(small):
    work = linear_job(step_size=10.0, steps=500)
    frame = perform(work, data=small).frame(work).query("method == 'gd' and metric == 'train_loss'")
    assert set(frame["status"]) == {"ok", "diverged"} and frame.query("step == 500")["status"].eq("diverged").all()


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: toy_job().variants[2], r"zo: `smoothing` must lie in \(0, 10\], got 0"),
        (lambda: linear_job().variants[1], r"zo: `smoothing` must lie in \(0, 10\], got 0"),
        (lambda: linear_job().variants[3], r"sam: `radius` must lie in \(0, 10\], got 0"),
    ],
)
def test_a_bad_setting_is_refused_before_a_step(work, message, small):
    chosen = work()
    bad = replace(chosen, params={**chosen.params, "smoothing": 0, "radius": 0})
    experiment = "toy" if "half_dimension" in bad.params else "convex"
    with pytest.raises(SettingError, match=message):
        perform(job(experiment, bad), data=small)


def test_where_metrics_are_taken():
    points = convex.measured(10_000, 60, 200, 11)
    assert set(range(201)) <= points and {9500, 9550, 9950, 10_000} <= points and len(points) < 300
    assert toy.log_grid(100_000, 60)[-1] == 100_000
    assert measured("0,5,10:30:10") == {0, 5, 10, 20, 30}
    with pytest.raises(SettingError, match=r"`measured` must hold numbers .* got 'x'"):
        measured("1,x")


def test_thinned_rows_keep_both_classes():
    assert convex._thinned(np.arange(100), 5).tolist() == [0, 24, 49, 74, 99]
    assert convex._thinned(np.arange(3), 0).tolist() == [0, 1, 2]


def test_clipping_scales_long_gradients_only():
    g = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    torch.testing.assert_close(clipped(g, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4]]), rtol=1e-5, atol=0)
    assert clipped(g, 0.0) is g


# The configuration


def plan_at(scale: str, root: Path = ROOT):
    return make_plan(root, read_study(root, {"papers": "zoflat", "scale": scale, "tier": "extended"}), everything=True)


def test_study_scale_is_the_published_set_up():
    """The published setup where it is affordable; departures are the notes'."""
    jobs = plan_at("study").jobs
    (walk,) = (j for j in jobs.values() if j.experiment == "toy")
    assert {(v.method, v.setting["smoothing"], v.params["steps"], v.params["step_size"]) for v in walk.variants} == {
        ("gd", None, 5000, 0.01), ("dd", None, 100_000, 1e-3), *(("zo", s, 100_000, 1e-3) for s in (0.1, 0.05, 0.01)),
    }  # fmt: skip
    assert all(v.seeds == tuple(range(2000, 2030)) and v.params["half_dimension"] == 100 for v in walk.variants)
    tuned = {
        (v.method, v.params["model"]): (v.params["step_size"], v.params.get("smoothing", v.params.get("radius")))
        for j in jobs.values() if j.experiment == "convex" for v in j.variants
    }  # fmt: skip
    assert tuned == {
        ("zo", "svm"): (1e-4, 0.05), ("gd", "svm"): (1e-3, None), ("dd", "svm"): (1e-4, None), ("sam", "svm"): (1e-3, 0.05),
        ("zo", "logistic"): (0.01, 0.1), ("gd", "logistic"): (0.01, None), ("dd", "logistic"): (0.01, None),
        ("sam", "logistic"): (0.01, 0.1),
    }  # fmt: skip
    within = [v for j in jobs.values() if j.experiment == "stable" for v in j.variants]
    assert {(v.method, v.params["step_size"], v.params.get("smoothing"), v.params["model"], v.params["data"]) for v in within} == {
        ("zo", 2e-3, 0.1, "logistic", "a5a"), ("dd", 2e-3, None, "logistic", "a5a"),
    }  # fmt: skip
    judged = [
        v for j in jobs.values() if j.experiment in ("convex", "stable", "encode", "language") for v in j.variants
    ]
    assert {s for v in judged for s in v.seeds} == set(range(2000, 2005)), "fresh seeds, shared where claims compare"
    words = [j for j in jobs.values() if j.experiment == "language"]
    assert {(v.method, v.params["step_size"], v.params["steps"], v.params.get("smoothing")) for j in words for v in j.variants} == {
        ("gd", 2e-2, 500, None), ("zo", 2e-3, 1500, 1e-2),
    }  # fmt: skip


def test_the_language_model_at_paper_scale_is_not_run_without_its_folders_and_resolves_with_them(tmp_path):
    missing = {m.experiment: m.reason for m in plan_at("paper").missing}
    assert {"encode", "language", "prompts", "tasks"} <= set(missing)
    assert "checkpoint_dir" in missing["language"]
    config = yaml.safe_load((ROOT / "config/papers/zoflat.yaml").read_text())
    for name in ("encode", "language", "prompts", "tasks"):
        scale = config["experiments"][name]["scales"]["paper"]
        for rule in scale["settings"]:
            rule |= {k: str(tmp_path) for k in ("checkpoint_dir", "text_dir") if k in rule}
    (tmp_path / "config" / "papers").mkdir(parents=True)
    (tmp_path / "config" / "papers" / "zoflat.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "config" / "config.yaml").write_text((ROOT / "config/config.yaml").read_text())
    (tmp_path / "data.dvc").write_text("outs: []\n")
    jobs = plan_at("paper", tmp_path).jobs
    work = next(j for j in jobs.values() if j.experiment == "language")
    by_method = {v.method: v.params for v in work.variants}
    assert (
        by_method["zo"]["step_size"] == 1e-5 and by_method["zo"]["smoothing"] == 2e-3 and by_method["zo"]["regenerate"]
    )
    assert by_method["gd"]["step_size"] == 5e-5 and by_method["gd"]["clip_norm"] == 1.0
    assert work.needs["encodings"] == ("zoflat/encode/all",)
    tasks = [j for j in jobs.values() if j.experiment == "tasks"]
    assert sorted(j.needs["encodings"] for j in tasks) == [
        ("zoflat/prompts/encode-sst5",), ("zoflat/prompts/encode-sst5",), ("zoflat/prompts/encode-trec",), ("zoflat/prompts/encode-trec",),
    ]  # fmt: skip
