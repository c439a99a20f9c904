"""`descent front`: the joint files from the papers' committed folders, with no record at hand."""

import shutil

import pytest

from descent.core.errors import StudyError
from descent.workflow.manage import front
from support import ROOT

JOINT = ("index.html", "verdicts.csv", "checks.csv", "verdicts.svg")


@pytest.fixture
def checkout(tmp_path):
    """The configuration and the committed paper folders alone."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for folder in sorted(path for path in (ROOT / "reports/study").iterdir() if path.is_dir()):
        shutil.copytree(folder, tmp_path / "reports/study" / folder.name)
    return tmp_path


def test_the_joint_files_are_made_and_no_paper_s_folder_changes(checkout):
    folder = checkout / "reports/study"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before and front(checkout, "study") == 0
    assert all((folder / name).stat().st_size > 500 for name in JOINT)
    assert {path: path.read_bytes() for path in before} == before
    made = {name: (folder / name).read_bytes() for name in JOINT}
    front(checkout, "study")
    assert {name: (folder / name).read_bytes() for name in JOINT} == made


def test_one_paper_s_folder_is_enough_and_none_is_said(checkout, capsys):
    papers = sorted(path.parent.name for path in (checkout / "reports/study").glob("*/verdicts.json"))
    for slug in papers[1:]:
        shutil.rmtree(checkout / "reports/study" / slug)
    front(checkout, "study")
    assert "papers: 1; without a folder, shown as not run:" in capsys.readouterr().out
    shutil.rmtree(checkout / "reports/study" / papers[0])
    with pytest.raises(StudyError, match=r"holds no paper's verdicts\.json"):
        front(checkout, "study")
