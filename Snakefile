# The whole study from one command: snakemake --cores all
# What runs is decided in config/config.yaml and config/papers/*.yaml; descent.workflow.study resolves and checks both.
# Called from elsewhere (-s) it works in its own folder. With --directory, or as a `module` of another workflow, records
# and report go below the folder that Snakemake works in, and everything else stays here: docs/reliability.md.
import sys
from pathlib import Path

from snakemake.utils import min_version

HERE = Path(str(workflow.current_basedir)).resolve()
MODULE = HERE != Path(workflow.basedir).resolve()
OWN = HERE / "pkg"
if (OWN / "descent").is_dir():  # whatever else is called so on the user's path
    sys.path.insert(0, str(OWN))

if not MODULE:

    workdir: HERE


import descent

if (OWN / "descent").is_dir() and Path(descent.__file__).parent.resolve() != (OWN / "descent").resolve():
    sys.exit(
        f"Nothing was run. The package `descent` comes from {Path(descent.__file__).parents[1]}, not from this checkout: "
        "use this checkout's environment (. .venv/bin/activate), or `make study`."
    )

from descent.core.errors import StudyError
from descent.workflow import ending, terminal
from descent.workflow import forks as warm
from descent.workflow.study import Study, job_files, placed

min_version("9.0")


def resolved():
    try:
        study = Study(HERE, placed(HERE, config, Path.cwd()))
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
AT = "" if Path.cwd() == HERE else f"{HERE}/"  # what comes before the name of a file of this checkout
COURSE = None
if workflow.is_main_process and not MODULE:
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


report: "workflow/report/study.rst"


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
