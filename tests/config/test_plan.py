"""config/: what the YAML asks for, resolved; bad input named before anything runs, all faults at once."""

import copy

import pytest
import yaml

from descent.config.docs import pages
from descent.config.model import PaperConfig
from descent.config.plan import make_plan
from descent.config.read import build, checked, read_paper, read_study
from descent.core.errors import ConfigError
from support import ROOT


def plan(project, **overrides):
    return make_plan(project, read_study(project, overrides))


def edit(project, change):
    path = project / "config/papers/tiny.yaml"
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))


def faults(project, change=None, **overrides):
    if change:
        edit(project, change)
    with pytest.raises(ConfigError) as caught:
        plan(project, **overrides)
    return caught.value.faults


def test_variants_blocks_seeds_and_rules(project):
    got = plan(project, scale="smoke")
    assert list(got.jobs) == [
        "tiny/base/base-round",
        "tiny/base/base-long",
        "tiny/tuning/all",
        "tiny/tune/all",
        "tiny/race/round",
        "tiny/race/long",
    ]
    race = got.jobs["tiny/race/long"]
    assert [v.key for v in race.variants] == ["noisy, world=long", "gd, world=long"]
    assert race.variants[0].params == {"world": "long", "steps": 40, "step_size": 0.2, "noise": 0.5, "checkpoint": ""}
    assert "noise" not in race.variants[1].params, "gd takes no noise"
    assert race.variants[0].seeds == (1000, 1001)
    assert race.needs == {"base": ("tiny/base/base-long",)}
    assert got.jobs["tiny/race/round"].variants[0].tuned == {"step_size": "tune"}
    assert got.jobs["tiny/tuning/all"].variants[0].seeds == (200, 201)


def test_dev_seeds_move_the_verdict_seeds_and_not_the_tuning_seeds(project):
    got = plan(project, scale="smoke", seeds="dev")
    assert got.jobs["tiny/race/long"].variants[0].seeds == (500, 501)
    assert got.jobs["tiny/tuning/all"].variants[0].seeds == (200, 201)


def test_fresh_seeds_begin_at_2000_for_an_experiment_or_at_one_scale_of_it(project):
    edit(project, lambda d: d["experiments"]["race"].update(seeds_from="fresh"))
    assert plan(project, scale="smoke").jobs["tiny/race/long"].variants[0].seeds == (2000, 2001)
    assert plan(project, scale="smoke", seeds="dev").jobs["tiny/race/long"].variants[0].seeds == (500, 501)
    edit(project, lambda d: d["experiments"]["race"].update(seeds_from="again"))
    assert plan(project, scale="smoke").jobs["tiny/race/long"].variants[0].seeds == (3000, 3001)
    edit(project, lambda d: d["experiments"]["race"]["scales"]["smoke"].update(seeds_from="verdict"))
    assert plan(project, scale="smoke").jobs["tiny/race/long"].variants[0].seeds == (1000, 1001)


def test_measured_time_is_run_on_request_only(project):
    assert "measured time" in plan(project, scale="smoke").missing[0].reason
    assert "tiny/cost/all" in plan(project, scale="smoke", bench=True).jobs


def test_a_folder_that_the_user_must_supply_is_asked_for_and_its_jobs_are_not_run(project, tmp_path):
    def change(folder):
        return lambda d: (
            d["experiments"]["race"].update(folders=["checkpoint"])
            or d["experiments"]["race"]["settings"].append({"checkpoint": folder})
        )

    edit(project, change(""))
    got = plan(project, scale="smoke")
    assert not got.of("tiny", "race")
    assert "give `checkpoint` in config/papers/tiny.yaml" in {m.experiment: m.reason for m in got.missing}["race"]
    edit(project, change(str(tmp_path)))
    assert plan(project, scale="smoke").of("tiny", "race")


def test_a_package_that_is_not_installed_is_named_and_its_jobs_are_not_run(project):
    edit(project, lambda d: d["experiments"]["race"].update(packages=["no_such_package", "json"]))
    got = plan(project, scale="smoke")
    assert not got.of("tiny", "race")
    assert {m.experiment: m.reason for m in got.missing}[
        "race"
    ] == "needs the package no_such_package, which is not installed"


def test_the_extended_tier_is_off_unless_asked_for(project):
    edit(
        project, lambda d: d["experiments"]["race"]["settings"].append({"when": {"world": "long"}, "tier": "extended"})
    )
    got = plan(project)
    assert "tiny/race/long" not in got.jobs
    assert {m.reason for m in got.missing if m.experiment == "race"} == {
        "a secondary sweep: run with `--config tier=extended`"
    }
    assert "tiny/race/long" in plan(project, tier="extended").jobs


def test_what_needs_something_that_is_not_run_is_not_run_either(project):
    def change(d):
        d["experiments"]["base"]["scales"]["study"] = {"not_run": "no base today"}

    edit(project, change)
    got = plan(project)
    assert not got.of("tiny")
    reasons = {m.experiment: m.reason for m in got.missing}
    assert reasons["base"] == "no base today" and reasons["race"] == "needs `base`, which is not run"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d["experiments"]["race"]["settings"].append({"step_size": -1}), "must lie in (0, 10], got -1"),
        (lambda d: d["experiments"]["race"]["settings"].append({"step_sise": 1}), "unknown setting `step_sise` (did you mean `step_size`?)"),
        (lambda d: d["experiments"]["race"]["settings"].append({"when": {"wrold": "long"}, "steps": 1}), "`wrold` is no axis (did you mean `world`?)"),
        (lambda d: d["experiments"]["race"]["settings"].append({"when": {"world": "lnog"}, "steps": 1}), "no world is `lnog` (did you mean `long`?)"),
        (lambda d: d["experiments"]["race"]["methods"].append("nosy"), "unknown method `nosy` (did you mean `noisy`?)"),
        (lambda d: d["experiments"]["race"].update(split=["wrld"]), "unknown axis `wrld` (did you mean `world`?)"),
        (lambda d: d["experiments"]["race"].update(spilt=[]), "unknown key `experiments.race.spilt` (did you mean `split`?)"),
        (lambda d: d["experiments"]["race"].update(device="gpu"), "`experiments.race.device` must be auto, cpu or cuda, got 'gpu'"),
        (lambda d: d["experiments"]["race"]["needs"]["base"].update(experiment="bse"), "unknown experiment `bse` (did you mean `base`?)"),
        (lambda d: d["experiments"]["race"]["settings"].pop(0), "the setting `steps` is missing"),
        (lambda d: d["experiments"]["race"]["scales"]["study"].update(seeds=0), "seeds` must lie in [1, 100000], got 0"),
        (lambda d: d["claims"]["c1"]["estimates"]["ratio"]["operands"]["gd"].update(metric="los"), "reads the metric `los`"),
        (lambda d: d["claims"]["c1"]["estimates"]["ratio"]["operands"]["gd"].update(where={"world": "lnog"}), "lnog"),
        (lambda d: d["claims"]["c1"].update(headline="lowr"), "lowr"),
        (lambda d: d["experiments"]["race"].update(datasets=["w5b"]), "there is no dataset `w5b`"),
        (lambda d: d["experiments"]["base"].update(needs={"r": {"experiment": "race"}}), "need each other in a circle"),
        (lambda d: d["experiments"]["tune"]["select"].update(over=["steps"]), "has no axis `steps`"),
        (lambda d: d.update(paper="tinny"), "must be `tiny`, the name of the file"),
        (lambda d: d.update(package="tinny"), "there is no module tinny.room"),
        (lambda d: d.pop("title"), "the key `title` is missing"),
    ],
)  # fmt: skip
def test_a_bad_paper_file_is_named_with_its_key(project, change, sentence):
    found = faults(project, change)
    assert any(sentence in fault for fault in found), found
    assert all("config/papers/tiny.yaml" in fault and "\n" not in fault for fault in found)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"papers": "tinny"}, "unknown paper `tinny` (did you mean `tiny`?); known: tiny"),
        ({"scale": "studdy"}, "`scale` must be smoke, study or paper, got 'studdy' (did you mean `study`?)"),
        ({"scal": "study"}, "unknown key `scal` (did you mean `scale`?)"),
        ({"seeds": "fresh"}, "`seeds` must be verdict or dev, got 'fresh'"),
        ({"data": {"miror": "x"}}, "unknown key `data.miror` (did you mean `mirror`?)"),
    ],
)
def test_a_bad_command_line_is_named_with_its_key(project, overrides, sentence):
    assert any(sentence in fault for fault in faults(project, **overrides))


def test_all_faults_are_told_at_once(project):
    def change(d):
        d["experiments"]["race"]["settings"] += [{"step_size": -1}, {"nois": 2}]
        d["experiments"]["tuning"]["settings"] += [{"steps": 0}]

    assert len({f.split("experiments.")[1].split(":")[0].split(".")[0] for f in faults(project, change)}) == 2


def test_a_missing_file_and_broken_yaml_are_one_sentence(project):
    (project / "config/papers/tiny.yaml").write_text("a: [1\n")
    assert "not valid YAML" in faults(project)[0] and "line" in faults(project)[0]
    (project / "config/papers/tiny.yaml").write_text("paper: tiny\npaper: tiny\n")
    assert "the key `paper` is given twice" in faults(project)[0]
    (project / "config/config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"config/config\.yaml: the file is missing"):
        read_study(project)


def test_without_pydantic_the_same_config_is_built(project):
    paper = read_paper(project, "tiny")
    raw = yaml.safe_load((project / "config/papers/tiny.yaml").read_text())
    assert build(PaperConfig, raw, "x") == paper == checked(PaperConfig, copy.deepcopy(raw), "x")


def test_the_docs_and_schemas_are_what_the_model_says():
    stale = [str(path) for path, text in pages(ROOT).items() if not path.is_file() or path.read_text() != text]
    assert not stale, f"run `make docs`: {stale}"
