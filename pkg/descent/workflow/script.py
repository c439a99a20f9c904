"""What the workflow's scripts share: the study as the Snakefile resolved it, a log, and errors as one sentence."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from descent.core.errors import StudyError
from descent.workflow.terminal import QUIET

if TYPE_CHECKING:
    from descent.results.stored import Results
    from descent.workflow.study import Study


@contextmanager
def logged(snakemake: Any) -> Iterator[Callable[[str], None]]:
    """Everything printed goes to the rule's log, with the time; an error of the study ends it without a traceback."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's, which it sets for all that it starts, may not be installed here
    path = Path(snakemake.log[0])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = open(path, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
    except OSError as error:
        _stop(snakemake, f"its log cannot be written: {error.strerror}", path)

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    try:
        with redirect_stdout(log), redirect_stderr(log):
            try:
                yield say
            except StudyError as error:
                with suppress(OSError):  # on a full disk what went wrong is told all the same
                    say(str(error))
                _stop(snakemake, str(error), path)
            except Exception as error:
                with suppress(OSError):
                    traceback.print_exc()
                _stop(snakemake, f"{type(error).__name__}: {error}", path)
    finally:
        with suppress(OSError):
            log.close()


def plain_torch() -> None:
    """PyTorch as it is installed: what a user's start-up files set for all their programs decides no result."""
    import torch

    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)


def train(*, rule: str, wildcards: Mapping[str, str], log: str, job: str, results: str, into: str) -> None:
    """One job of the rule `rule`: see `descent.runner.run.execute`. job: as JSON."""
    with logged(SimpleNamespace(rule=rule, wildcards=wildcards, log=[log])) as say:
        from descent.core.job import Job
        from descent.runner.run import execute

        plain_torch()
        execute(Job.from_json(job), Path(results), into=Path(into), say=say)


def study(snakemake: Any) -> Study:
    """The study that the Snakefile resolved, resolved again in this process."""
    from descent.workflow.study import CONFIG, Study

    # As a module of another workflow, the rules' own configuration is not what Snakemake calls `config`.
    config = json.loads(os.environ[CONFIG]) if CONFIG in os.environ else snakemake.config
    return Study(Path(os.environ["DESCENT_ROOT"]), config)


def results(snakemake: Any) -> Results:
    """The results of the rule's paper."""
    return study(snakemake).found(snakemake.wildcards.paper)


def _stop(snakemake: Any, reason: str, log: Path) -> NoReturn:
    what = ", ".join(f"{name}={value}" for name, value in snakemake.wildcards.items())
    if QUIET not in os.environ or "SLURM_JOB_ID" in os.environ:  # else the run that started the job tells it
        (sys.__stderr__ or sys.stderr).write(
            f"\nrule {snakemake.rule} ({what}) failed: {reason}\nlog: {log.resolve()}\n\n"
        )
    sys.exit(1)
