"""What a person reads: short lines with job names, times and what is left; what failed, why, its log, how to go on."""

import logging
import re
from types import SimpleNamespace

import pytest

from descent.core.files import write_json
from descent.report.judged import sealed
from descent.workflow import ending
from descent.workflow.phrases import WIDTH, name_of, reason, short, span, why
from descent.workflow.terminal import Course, Failure, Lines, Watch, weights
from descent.workflow.terminal import ending as ending_words
from support import make_project, snakemake


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def record(event, **words):
    made = logging.LogRecord("snakemake.logging", logging.INFO, "", 0, words.pop("text", "text"), (), None)
    made.__dict__.update(words, event=event)
    return made


@pytest.fixture
def run():
    """Feeds events of a run of three jobs; what the terminal shows comes back."""
    clock = Clock()
    jobs = {1: ("train_cpu", "tiny/a/one"), 2: ("train_cpu", "tiny/a/two"), 3: ("page", "page tiny")}
    course = Course(lambda rule, name: {"tiny/a/two": 30.0}.get(name, 10.0), clock)
    lines = Lines(course, logging.Formatter(), lambda id: False, False)
    watch = Watch(course, lambda: jobs)

    def feed(event, after=0.0, **words):
        clock.now += after
        made = record(event, **words)
        watch.emit(made)
        return lines.format(made)

    return SimpleNamespace(feed=feed, course=course)


def starting(run, id=1, name="tiny/a/one", why="Missing output files: x"):
    return run.feed("job_info", jobid=id, rule_name="train_cpu", wildcards={"job": name}, reason=why)


def test_a_job_s_line_names_it_what_is_done_of_all_and_what_is_left(run):
    assert starting(run).endswith("  tiny/a/one starts (new)")
    assert run.feed("job_finished", 20.0, job_id=1) == ""
    text = run.feed("progress", done=1, total=3)
    # 10 of the 50 expected seconds took 20: the other 40 will take 80
    assert re.fullmatch(r"\d\d:\d\d:\d\d  \[1 of 3 done, about 1 min left\]  tiny/a/one  20 s", text), text


def test_a_failed_job_says_what_why_and_where_its_log_is(run, tmp_path):
    log = tmp_path / "one.log"
    log.write_text("12:00:01 step 5\nTraceback (most recent call last):\nOSError: no space\n")
    starting(run)
    text = run.feed("job_error", jobid=1, rule_name="train_cpu", log=[str(log)])
    assert f"FAILED  tiny/a/one: OSError: no space\n          log: {log}" in text
    assert run.course.failures == [Failure("train_cpu", "tiny/a/one", "OSError: no space", str(log))]


def test_what_waits_for_a_failed_job_is_no_longer_counted_as_ahead(run):
    run.course.behind = lambda id: {2, 3}
    starting(run)
    run.feed("job_error", jobid=1, rule_name="train_cpu", log=[])
    assert run.course.ahead == {}
    text = "\n".join(ending_words(run.course, [], ["tiny"]))
    assert "Not started, since they wait for it: 2 more." in text


def test_snakemake_s_own_words_of_a_failure_are_not_said_again(run):
    for text in ("Exiting because a job execution failed. Look above for error messages",
                 "WorkflowError:\nAt least one job did not complete successfully."):  # fmt: skip
        assert run.feed("error", text=text) == "" and run.feed(None, text=text) == ""


def test_a_cluster_s_job_keeps_its_number_and_no_log_s_place_is_cut(run):
    starting(run)
    text = run.feed("job_error", jobid=1, rule_name="train_cpu", log=[], aux={"external_jobid": 4711}, text="id: 4711")
    assert "FAILED  tiny/a/one" in text and text.endswith("id: 4711")
    place = f"Job 2 has been submitted with SLURM jobid 4712 (log: /{'x' * 300}.log)."
    assert run.feed(None, text=place) == place


def test_no_line_is_longer_than_a_person_reads(run):
    starting(run)
    for event, words in {
        None: {"text": "x" * 2000}, "run_info": {"text": "y" * 900}, "error": {"text": "z" * 900},
        "job_info": {"jobid": 2, "rule_name": "r", "wildcards": {"job": "a/" * 300}, "reason": "w" * 1600},
    }.items():  # fmt: skip
        assert 0 < max(len(line) for line in run.feed(event, **words).splitlines()) <= WIDTH


def test_reasons_are_a_few_words():
    params = "Params have changed since last execution: Union of exclusive params before and now: " + "x" * 1600
    assert reason(params) == "its settings, data or source changed"
    assert reason("Missing output files: a; Input files updated by another job: b") == "new"
    assert reason("Code has changed since last execution", made_elsewhere=True) == "not made here yet"
    assert len(reason("something else " * 50)) <= 80


def test_times_and_names():
    assert [span(s) for s in (0.52, 42.4, 180, 7500)] == ["0.5 s", "42 s", "3 min", "2 h 05 min"]
    assert name_of("page", {"paper": "tiny"}) == "page tiny" and name_of("front", {}) == "front"
    assert short("abc") == "abc" and why("/nowhere.log").startswith("it ended without a word")


def test_jobs_know_what_they_cost_where_the_report_was_made(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "cost.csv").write_text("paper,experiment,block,wall_seconds\ntiny,a,one,7.5\ntiny,a,two,1\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cost.csv").write_bytes(b"\xff\xfe,,")
    weight = weights(tmp_path)
    assert weight("train_cpu", "tiny/a/one") == 8.0 and weight("page", "page tiny") == 15.0


def test_the_front_page_is_made_of_the_papers_that_are_whole(tmp_path, monkeypatch):
    """Two papers, one of which lost a job: the other is shown, the failures are listed, and the run can go on."""
    folder = make_project(tmp_path / "project", monkeypatch)
    text = (folder / "config/papers/tiny.yaml").read_text()
    (folder / "config/papers/other.yaml").write_text(text.replace("paper: tiny", "paper: other"))
    reports = folder / "reports" / "smoke"
    judged = sealed({"paper": "other", "claims": [], "counts": {}, "label": "smoke", "title": "Whole", "source": "",
                     "budget": None, "records": "0"})  # fmt: skip
    write_json(reports / "other" / "verdicts.json", judged)
    (reports / "other" / "index.html").touch()
    study = SimpleNamespace(
        root=folder, papers=["tiny", "other"], reports=reports.relative_to(folder),
        results=(folder / "results" / "smoke").relative_to(folder), records_of=lambda slug: [], found=lambda slug: None,
        config=SimpleNamespace(scale="smoke", seeds="verdict", budget=None),
    )  # fmt: skip
    course = Course(failures=[Failure("train_cpu", "tiny/base/base-round", "OSError: no space", "x.log")])
    lines = "\n".join(ending.failed(study, course))
    assert "1 job failed; what was done is kept:\n  tiny/base/base-round: OSError: no space\n    log: /" in lines
    assert "The front page was made from the papers that are whole (other); not whole: tiny." in lines
    assert "only what is missing is done" in lines
    page = (reports / "index.html").read_text()
    assert "Whole" in page and "tiny" in page
    track = Course(failures=[Failure("track", "track tiny", "no server", "")])
    assert not any("front page" in line for line in ending.failed(study, track))


def test_a_run_s_log_is_short_and_says_how_it_ended(project):
    done = snakemake(project, "--config", "scale=smoke", "--", "reports/smoke/index.html")
    assert max(len(line) for line in done.stdout.splitlines()) <= WIDTH and len(done.stdout.splitlines()) < 60
    assert re.search(r"\[9 of 9 done\]  front  \d", done.stdout) and "tiny/race/round starts (new)" in done.stdout
    assert done.stdout.count("\n\n") <= 3, "no blank line before every job"
