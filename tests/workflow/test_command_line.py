"""What is typed wrongly, and disks that are full: one sentence, and no traceback."""

import sys
from types import SimpleNamespace

import pytest

from descent.__main__ import main
from descent.core.errors import ConfigError, StudyError
from descent.workflow.script import logged
from descent.workflow.study import Study
from support import ROOT


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["list", ""], "unknown paper ``"),
        (["list", "all"], "unknown paper `all`; give one of"),
        (["list", "zoflatt"], "did you mean `zoflat`"),
        (["run", "gmfg,ssi", "rates"], "unknown paper `gmfg,ssi`"),
        (["run", "gmfg", "ratez"], "has no experiment `ratez`"),
        (["run", "gmfg", "rates", "--scale", "smoke", "--set", "steps=[1"], "--set steps=[1: the value is no YAML"),
        (["run", "gmfg", "rates", "--out", "/proc/no/x.parquet"], "--out /proc/no/x.parquet: cannot be written"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence(words, told, monkeypatch, capsys):
    monkeypatch.setenv("DESCENT_ROOT", str(ROOT))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert told in said and said.startswith("descent: ") and said.count("\n") == 1


def test_a_mirror_that_the_configuration_names_is_blamed_on_the_configuration(project, monkeypatch):
    monkeypatch.delenv("DESCENT_MIRROR", raising=False)
    with pytest.raises(ConfigError, match=r"--config: data\.mirror names /nope, which is not a folder"):
        Study(project, {"data": {"mirror": "/nope"}})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("log", "told"), [("/dev/full", "No space left on device"), ("/dev/null/a.log", "its log cannot be written")]
)
def test_a_log_that_cannot_be_written_is_told_in_a_sentence(log, told, monkeypatch, capfd):
    monkeypatch.delenv("DESCENT_TERMINAL", raising=False)
    job = SimpleNamespace(rule="train_cpu", wildcards={"job": "tiny/a/b"}, log=[log])
    with pytest.raises(SystemExit) as ended, logged(job) as say:
        say("step 1")
    said = capfd.readouterr().err
    assert ended.value.code == 1 and told in said and "Traceback" not in said


def test_an_error_of_the_study_is_told_where_its_log_is_full(monkeypatch, capfd):
    monkeypatch.delenv("DESCENT_TERMINAL", raising=False)
    job = SimpleNamespace(rule="judge", wildcards={"paper": "tiny"}, log=["/dev/full"])
    with pytest.raises(SystemExit), logged(job):
        raise StudyError("x is damaged; delete it")
    said = capfd.readouterr().err
    assert "rule judge (paper=tiny) failed: x is damaged; delete it" in said and "Traceback" not in said


def test_elsewhere_records_and_report_go_below_the_folder_that_is_worked_in(project, tmp_path, monkeypatch):
    """And the scripts of the rules are told the same, whatever `config` is in the workflow that took them in."""
    from descent.workflow.script import study
    from descent.workflow.study import CONFIG, placed

    for name in (CONFIG, "PYTHONPATH"):
        monkeypatch.setenv(name, "")
    assert placed(project, {"scale": "smoke"}, project) == {"scale": "smoke"}
    monkeypatch.setenv("HOME", str(tmp_path))
    found = placed(project, {"scale": "smoke", "reports": "~/mine"}, tmp_path / "there")
    assert found["results"] == str(tmp_path / "there" / "results") and found["reports"] == str(tmp_path / "mine")
    monkeypatch.setenv("DESCENT_ROOT", str(project))
    asked = study(SimpleNamespace(config={"something": "of the workflow's own"}))
    assert str(asked.results) == str(tmp_path / "there" / "results" / "smoke") and asked.root == project
    assert asked.records_of("tiny")[0].startswith(str(tmp_path / "there"))


def test_what_start_up_files_set_of_pytorch_decides_no_result():
    import torch

    from descent.workflow.script import plain_torch

    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    plain_torch()
    assert torch.ones(2).dtype == torch.float32 and torch.ones(2).device.type == "cpu" and torch.is_grad_enabled()
