# The whole study from one command: snakemake --cores all
# What runs is decided in config/config.yaml and config/papers/*.yaml; descent.workflow.study resolves and checks both.
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

OWN = Path(workflow.basedir, "pkg")
if (OWN / "descent").is_dir():  # whatever else is called so on the user's path
    sys.path.insert(0, str(OWN))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OWN), os.environ.get("PYTHONPATH")]))

import descent


workdir: workflow.basedir  # also when Snakemake is called from another folder


def misplaced():
    """Why this run would mix two checkouts or two folders, in one sentence, or nothing."""
    package, own = Path(descent.__file__).parent.resolve(), Path(workflow.basedir, "pkg", "descent").resolve()
    if own.is_dir() and package != own:
        return (
            f"The package `descent` comes from {package.parent}, not from this checkout: "
            "use this checkout's environment (. .venv/bin/activate), or `make study`."
        )
    if Path.cwd().resolve() != Path(workflow.basedir).resolve():
        return "--directory is not taken here: name other folders with --config results=... reports=..."
    return None


if reason := misplaced():
    sys.exit(f"Nothing was run. {reason}")

from descent.core.errors import StudyError
from descent.workflow import ending, terminal
from descent.workflow import forks as warm
from descent.workflow.study import Study, job_files

min_version("9.0")


def resolved():
    try:
        study = Study(Path(workflow.basedir), config)
        if workflow.is_main_process:  # the processes that it starts for its jobs find everything prepared
            study.prepare()
        study.plan
        if workflow.is_main_process:
            study.hand_over()
        if workflow.is_main_process and workflow.local_exec:
            gpus = study.local_gpus()
            if gpus:  # without one `gpu` stays unlimited: jobs that would like a GPU run on the CPU side by side
                workflow.global_resources.setdefault("gpu", gpus)
        return study
    except StudyError as error:
        sys.exit(f"Nothing was run. {error}" if "\n" not in str(error) else f"Nothing was run.\n{error}")


STUDY = resolved()
RESULTS, REPORTS = str(STUDY.results), str(STUDY.reports)
COURSE = None
if workflow.is_main_process:
    COURSE = terminal.install(workflow, terminal.weights(STUDY.root / STUDY.reports))


onstart:
    if workflow.is_main_process and workflow.local_exec:
        warm.start()


onsuccess:
    warm.stop()
    if COURSE and (said := ending.succeeded(STUDY)):
        print("\n".join(said), file=sys.stderr)


onerror:
    warm.stop()
    if COURSE:
        print("\n".join(ending.failed(STUDY, COURSE)), file=sys.stderr)


wildcard_constraints:
    paper="|".join(STUDY.papers),


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/track.smk"


localrules:
    all,
    data,
    judge,
    page,
    front,
    track,


rule all:
    default_target: True
    input:
        f"{REPORTS}/index.html",
        expand(f"{REPORTS}/{{paper}}/index.html", paper=STUDY.papers),
        expand(f"{RESULTS}/mlflow/{{paper}}.json", paper=STUDY.papers),
