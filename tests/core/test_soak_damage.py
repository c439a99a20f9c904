"""make soak: files that were damaged on the disk are noticed by name and never read as something else."""

import random
import shutil

import pytest

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.checkpoint import FileCheckpoint
from descent.core.errors import DataError, StudyError
from descent.core.outputs import arrays_of, chosen_of, records_of
from descent.runner.run import execute
from soak import VERDICTS, differences, finish, litter, outputs, tally, tries
from support import ROOT, snakemake

pytestmark = pytest.mark.soak

READERS = {"records.parquet": records_of, "arrays.npz": arrays_of, "chosen.json": chosen_of}


@pytest.fixture
def results(project, tmp_path):
    plan = make_plan(project, read_study(project, {"scale": "smoke"}))
    for id in ("tiny/base/base-round", "tiny/base/base-long", "tiny/tuning/all", "tiny/tune/all"):
        execute(plan.jobs[id], tmp_path / "results", say=lambda text: None)
    return tmp_path / "results"


def flip(content, chance):
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]


def cut(content, chance):
    return content[: chance.randrange(len(content))]


def hole(content, chance):
    """A block of zeros, as a file system leaves it that lost power."""
    at = chance.randrange(len(content))
    made = content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]
    return made if made != content else cut(content, chance)


HARM = {"one bit flipped": flip, "cut off": cut, "a block of zeros": hole}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_output_is_never_read_as_something_else(results, name, harm):
    folder, chance = results / "tiny/tune/all", random.Random(f"{name} {harm}")
    content = (folder / name).read_bytes()
    with tally(f"{harm}, in records, arrays or choices") as told:
        for _ in range(tries(200)):
            (folder / name).write_bytes(HARM[harm](content, chance))
            try:
                READERS[name]([folder])
            except DataError as error:
                told(None if name in str(error) and "\n" not in str(error) else f"badly told: {error}")
            else:
                told(f"{name} was read as if nothing had happened")


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_checkpoint_counts_as_absent(tmp_path, harm):
    import torch

    path, chance = tmp_path / "checkpoint.pt", random.Random(harm)
    kept = FileCheckpoint(path, "key", every=0)
    kept.save("loop", lambda: {"step": 3, "state": torch.arange(300, dtype=torch.float64)}, force=True)
    content = path.read_bytes()
    with tally(f"{harm}, in a checkpoint") as told:
        for _ in range(tries(200)):
            path.write_bytes(HARM[harm](content, chance))
            told(None if FileCheckpoint(path, "key").load("loop") is None else "a damaged state was resumed")


@pytest.mark.parametrize("harm", HARM)
def test_damaged_verdicts_are_not_published(tmp_path, harm):
    from descent.report.judged import read_verdicts

    path, chance = tmp_path / "verdicts.json", random.Random(harm)
    shutil.copyfile(min((ROOT / "reports" / "study").glob("*/verdicts.json")), path)
    content, right = path.read_bytes(), read_verdicts(path)["claims"]
    with tally(f"{harm}, in the verdicts that a page is made from") as told:
        for _ in range(tries(200)):
            path.write_bytes(HARM[harm](content, chance))
            try:
                told(None if read_verdicts(path)["claims"] == right else "other verdicts were read")
            except StudyError as error:
                told(None if "verdicts.json" in str(error) else f"badly told: {error}")


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_dataset_is_refused_by_name(tmp_path, harm):
    from descent.data import card, load

    record = card("digits").files[0]
    source = ROOT / record.path
    if not source.is_file():
        pytest.skip("the embedded data is not in place: make data")
    path, chance = tmp_path / record.path, random.Random(harm)
    path.parent.mkdir(parents=True)
    content = source.read_bytes()
    with tally(f"{harm}, in a dataset") as told:
        for _ in range(tries(100)):
            path.write_bytes(HARM[harm](content, chance))
            try:
                load("digits", tmp_path)
            except DataError as error:
                told(None if record.path in str(error) else f"badly told: {error}")
            else:
                told("it was loaded as if nothing had happened")


def test_damage_in_a_finished_study_is_named_and_healed_by_what_the_sentence_says(project):
    """Any one file of the records damaged: the next step that reads it names it, and the run after its advice is whole."""
    assert finish(project, VERDICTS) is None
    whole, chance = outputs(project), random.Random(9)
    with tally("a file of a finished study damaged, its folder deleted as the message says") as told:
        for _ in range(tries(3)):
            path = project / chance.choice(sorted(name for name in whole if name.endswith((".parquet", ".npz"))))
            path.write_bytes(chance.choice(list(HARM.values()))(path.read_bytes(), chance))
            again = snakemake(project, "--config", "scale=smoke", "--forcerun", "judge", "select", "--",
                              "reports/smoke/tiny/verdicts.json", check=False)  # fmt: skip
            noticed = again.returncode and f"{path.name}" in again.stdout and "delete the folder" in again.stdout
            read = path.name == "records.parquet"  # nothing but records is read again by these rules
            shutil.rmtree(path.parent)
            fault = finish(project, VERDICTS) or differences(whole, outputs(project)) or litter(project)
            told(fault if noticed or not read else f"{path} was not named: {again.stdout[-500:]}")
