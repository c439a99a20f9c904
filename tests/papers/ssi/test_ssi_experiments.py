"""The experiments as jobs, small and on development seeds: what each must show, the paper-scale paths, the figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.context import Context, Need
from descent.core.job import Job, Variant
from descent.core.settings import with_defaults
from descent.core.streams import Streams
from descent.papers.ssi import exponent, gain, phase
from descent.papers.ssi.room import ROOM
from descent.runner.run import execute, perform
from support import ROOT

CONTEXT = Context(torch.device("cpu"), Streams("ssi"), {})


def job(experiment: str, *variants: tuple[str, dict], seeds=range(500, 504)) -> Job:
    """A job of variants (method, params), every setting that has a default filled in."""
    made = []
    for method, params in variants:
        allowed = ROOM.allowed(experiment, method)
        made.append(
            Variant(
                method, {}, with_defaults(allowed, allowed, params), tuple(seeds), takes=ROOM.methods[method].settings
            )
        )
    return Job("ssi", experiment, "all", "smoke", "train", ROOM.experiments[experiment].module, (), tuple(made))


def values(frame, metric, method=None):
    rows = frame[frame["metric"] == metric]
    return (rows if method is None else rows[rows["method"] == method])["value"].to_numpy()


def test_trace_attention_and_the_square_network_run_at_several_lengths():
    """E9's code, over a few steps; noise from the device's counter, as at its scale."""
    p = {"target": "quadratic", "activation": "square", "dimension": 60, "rate": 0.02, "start": 1, "level": 1.1, "steps": 3200,
         "noise": "device", "block": 400, "chunk": 50}  # fmt: skip
    made = job("square", *[(m, {**p, "length": n}) for m in ("trace", "plain") for n in (3, 5)])
    frame = gain.run(made, CONTEXT).frame(made)
    for method in ("trace", "plain"):
        times = values(frame, "time", method)
        assert len(times) == 8 and (times > 0).all() and np.isfinite(times).sum() >= 4


def test_a_scaled_rate_gives_the_plain_network_the_tied_one_s_pace():
    p = {"target": "linear", "dimension": 400, "rate": 0.05, "start": 1, "level": 2, "steps": 20000, "length": 4}
    made = job("gain", ("tied", p), ("plain", p), ("plain", {**p, "rate_scaling": "length"}), seeds=range(500, 516))
    frame = gain.run(made, CONTEXT).frame(made)
    tied, plain = values(frame, "time", "tied").mean(), values(frame, "time", "plain").reshape(2, 16).mean(1)
    assert plain[0] / tied == pytest.approx(4, rel=0.15)
    assert plain[1] / tied == pytest.approx(1, rel=0.15)


def test_one_token_makes_tied_and_plain_the_same_chain():
    p = {"target": "linear", "dimension": 100, "rate": 0.05, "start": 1, "level": 2, "steps": 5000, "length": 1}
    made = job("gain", ("tied", p), ("plain", p))
    times = values(gain.run(made, CONTEXT).frame(made), "time")
    assert (times[:4] == times[4:]).all()


def test_a_chain_that_does_not_arrive_is_censored():
    p = {
        "target": "difference",
        "dimension": 100,
        "rate": 0.01,
        "start": 1,
        "level": 0.9,
        "level_unit": "one",
        "steps": 100,
        "length": 2,
    }
    made = job("null", ("tied", p))
    frame = gain.run(made, CONTEXT).frame(made)
    assert set(frame[frame["metric"] == "time"]["status"]) == {"censored"} and (values(frame, "reached") == 0).all()


def test_a_chain_that_blows_up_is_diverged_and_has_not_arrived():
    p = {"target": "quadratic", "activation": "square", "dimension": 60, "rate": 1e200, "start": 1, "level": 1, "level_unit": "one",
         "steps": 200, "length": 2}  # fmt: skip
    made = job("square", ("plain", p))
    frame = gain.run(made, CONTEXT).frame(made)
    assert set(frame[frame["metric"] == "time"]["status"]) == {"diverged"} and (values(frame, "reached") == 0).all()


def test_times_at_exponent_one_follow_the_flow():
    p = {"order": 1, "dimension": 256, "rate": 0.2, "start": 2, "level": 0.5, "steps": 10000}
    made = job("exponent", ("sgd", p), ("escape", {k: v for k, v in p.items()}), seeds=range(500, 532))
    frame = exponent.run(made, CONTEXT).frame(made)
    assert values(frame, "time", "escape")[0] == pytest.approx(542, abs=1)
    assert np.median(values(frame, "time", "sgd")) == pytest.approx(552, rel=0.08)  # an earlier implementation: 585


def test_the_phase_diagram_at_full_width():
    """Column a = 1: semantic below omega_global = .738, positional above; dynamics turn at .641."""
    made = job("phase", ("landscape", {"width": 1.0, "nodes": 15, "overlaps": 21, "cells": 31}), seeds=(500,))
    arrays = phase.run(made, CONTEXT).arrays
    omegas, column = arrays["omegas"], arrays["region"][-1]
    assert set(column[omegas < 0.635]) <= {0, 3}
    assert set(column[(omegas > 0.65) & (omegas < 0.725)]) <= {1, 4}
    assert set(column[omegas > 0.75]) <= {2, 5}
    assert arrays["region"].shape == (31, 31) and arrays["contours"].shape == (4, 21, 21)


def test_runs_and_equations_that_are_recorded_at_different_times_are_refused():
    p = {
        "dimension": 50,
        "rate": 0.25,
        "omega": 0.5,
        "loss": "sq",
        "start_m": 0.15,
        "start_e": 0.15,
        "time": 5.0,
        "records": 5,
    }
    other = {f"flow_{rate}": np.column_stack([np.arange(1.0, 6) * 2, np.zeros((5, 2))]) for rate in (0.0, 0.25)}
    with pytest.raises(ValueError, match="different times"):
        perform(job("trajectory", ("sgd", p)), needs={"equations": Need(None, other)})


def test_the_measured_baselines_advance_the_same_chains():
    """`cost`: every baseline's call does its steps, and the two d-dimensional ones end at the same law's overlaps."""
    from descent.papers.ssi.cost import workload

    p = {"dimension": 50, "rate": 0.2, "omega": 0.5, "width": 1.0, "loss": "sq", "chains": 40, "chunk": 5}
    ends = {
        m: workload(Variant(m, {}, p, (500,), takes=ROOM.methods[m].settings), CONTEXT)()
        for m in ("sgd", "direct", "autograd")
    }
    assert ends["sgd"].body.w.shape == (3, 40) and ends["direct"].w.shape == ends["autograd"].w.shape == (40, 50)
    m = {"sgd": ends["sgd"].body.w[0], **{k: ends[k].w[:, 0] / 50**0.5 for k in ("direct", "autograd")}}
    assert all(abs(float(x.mean()) - 0.3) < 0.05 and float(x.std()) > 0 for x in m.values())


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke scale on development seeds, run once."""
    folder = tmp_path_factory.mktemp("ssi")
    plan = make_plan(ROOT, read_study(ROOT, {"papers": "ssi", "scale": "smoke", "seeds": "dev"}))
    for one in plan.of("ssi"):
        execute(one, folder, say=lambda text: None)
    return plan, folder


def test_every_figure_is_drawn_from_smoke_results(smoke, tmp_path):
    from descent.report.figures import draw
    from descent.results.stored import Results

    drawn = draw(Results(smoke[0], "ssi", smoke[1]), tmp_path)
    assert {d["name"] for d in drawn if d["not_run"]} == {"square", "official_gains", "official_transition", "yellow"}
    assert all(d["caption"] and d["alt"] and (tmp_path / f"{d['name']}.svg").stat().st_size > 2000 for d in drawn)


def test_every_claim_is_judged_from_smoke_results_and_names_a_figure(smoke):
    from descent.papers.ssi.figures import FIGURES
    from descent.report.judged import judge_claims
    from descent.results.stored import Results

    claims = judge_claims(Results(smoke[0], "ssi", smoke[1]))
    # Smoke has none of the dimensions that c2 reads.
    assert [c.verdict for c in claims] == ["smoke", "not run", *["smoke"] * 4]
    assert {c["figure"] for c in smoke[0].papers["ssi"].claims.values()} <= set(FIGURES)
