"""current.py and `descent run`: one rule says what is still valid; seeds, tuned values and `--set` never get mixed up."""

import json
from pathlib import Path

import pandas as pd
import pytest

from descent import __main__ as command
from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.runner.current import is_current
from descent.runner.run import execute


@pytest.fixture
def run(project, monkeypatch, capsys):
    """`descent run tiny ...` in the miniature checkout; returns what it printed."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("DESCENT_ROOT", str(project))

    def call(*words):
        assert command.main(["run", "tiny", *words, "--scale", "smoke"]) == 0
        return capsys.readouterr().out

    return call


def test_a_result_is_current_until_what_it_depends_on_changes(project, tmp_path):
    from dataclasses import replace

    plan = make_plan(project, read_study(project, {"scale": "smoke"}))
    base, race = plan.jobs["tiny/base/base-long"], plan.jobs["tiny/race/long"]
    assert not is_current(base, tmp_path)
    for id in ("tiny/base/base-long", "tiny/base/base-round"):
        execute(plan.jobs[id], tmp_path, say=lambda text: None)
    assert not is_current(race, tmp_path)
    execute(race, tmp_path, say=lambda text: None)
    assert is_current(base, tmp_path) and is_current(race, tmp_path)
    longer = replace(race, variants=tuple(replace(v, params={**v.params, "steps": 41}) for v in race.variants))
    assert not is_current(longer, tmp_path), "a setting changed"
    sidecar = tmp_path / race.id / "run.json"
    kept = sidecar.read_text()
    sidecar.write_text(json.dumps({**json.loads(kept), "key": "0" * 16}))
    assert not is_current(race, tmp_path), "other source, or other needs"
    sidecar.write_text("{")
    assert not is_current(race, tmp_path), "a damaged sidecar"
    sidecar.write_text(kept)
    other = replace(base, variants=tuple(replace(v, seeds=(7, 8)) for v in base.variants))
    execute(other, tmp_path, say=lambda text: None)
    assert not is_current(race, tmp_path), "what it needs was made anew and differs"


def test_a_stale_need_is_made_again_and_a_current_one_is_not(run, project):
    assert "(needed)" in run("race")
    assert "(needed)" not in run("race")
    path = project / "config/papers/tiny.yaml"
    text = path.read_text()
    assert "base:" in text
    path.write_text(
        text.replace("steps: 3", "steps: 4", 1) if "steps: 3" in text else text.replace("seeds: 1", "seeds: 2", 1)
    )
    assert path.read_text() != text and "(needed)" in run("race")


def test_dev_and_verdict_seeds_have_folders_of_their_own(run, project):
    first, second = run("race", "--block", "long"), run("race", "--block", "long", "--seeds", "dev")
    paths = [text.splitlines()[-1] for text in (first, second)]
    assert paths[0] != paths[1] and "smoke-dev" in paths[1]
    seeds = [set(pd.read_parquet(path)["seed"]) for path in paths]
    assert seeds == [{1000, 1001}, {500, 501}]


def test_a_value_that_is_set_wins_over_a_tuned_one_and_the_sidecar_says_what_was_used(run, project):
    path = run("race", "--block", "round", "--method", "gd").splitlines()[-1]

    def used():
        sidecar = json.loads(Path(path.replace("records.parquet", "run.json")).read_text())
        return [variant["params"]["step_size"] for variant in sidecar["job"]["variants"]]

    tuned = used()
    assert tuned == [0.9]
    run("race", "--block", "round", "--method", "gd", "--set", "step_size=0.3")
    assert used() == [0.3]
