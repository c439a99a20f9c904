"""The command line. `run` and `list` need only the training packages; the rest serves the Makefile."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from descent.core.errors import ConfigError, StudyError, listed, nearest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error the user can mend is printed as its sentence, without a traceback."""
    parser = argparse.ArgumentParser(
        prog="descent", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="one job, no Snakemake, no MLflow", description=_run.__doc__)
    run.add_argument("paper")
    run.add_argument("experiment")
    run.add_argument("--method", help="only this method (agrees with the whole block within rounding)")
    run.add_argument("--block", help="only this block: gives the very bytes of the workflow")
    run.add_argument("--scale", default="study", help="smoke, study or paper (default: study)")
    run.add_argument("--seeds", default="verdict", help="verdict or dev (default: verdict)")
    run.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting to change, for exploring"
    )
    run.add_argument("--device", help="auto, cpu or cuda, instead of what the experiment declares")
    run.add_argument(
        "--results",
        type=Path,
        help="folder of the records, a subfolder a scale and kind of seeds (default: results/run)",
    )
    run.add_argument("--out", type=Path, help="copy the records to this Parquet file as well")
    run.set_defaults(act=_run)
    show = commands.add_parser("list", help="papers, experiments, methods, scales, claims", description=_list.__doc__)
    show.add_argument("paper", nargs="?")
    show.set_defaults(act=_list)
    start = commands.add_parser("new", help="a small paper to start from", description=_new.__doc__)
    start.add_argument("paper", help="its name in the study: lower-case letters, digits and _")
    start.add_argument("--title", default="The paper's title", help="the paper's title")
    start.add_argument("--authors", default="its authors", help="its authors")
    start.set_defaults(act=_new)
    joint = commands.add_parser("front", help="the joint report files", description=_front.__doc__)
    joint.add_argument("--scale", default="study")
    joint.set_defaults(act=_front)
    mutants = commands.add_parser("mutants", help="change lines of a room and see whether its tests notice")
    mutants.add_argument("paper")
    mutants.add_argument("--count", type=int, default=40, help="how many lines are changed (default: 40)")
    mutants.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    mutants.add_argument("--limit", type=float, default=120, help="seconds for one run of the tests (default: 120)")
    mutants.set_defaults(act=_mutants)
    for name, summary in (
        ("unlock", "remove the lock of a killed run"),
        ("ui", "browse the runs in MLflow"),
        ("docs", "rewrite the generated pages of docs/"),
        ("check", "compare the study with the committed report"),
        ("costs", "put what the jobs took on this machine into the report"),
    ):
        command = commands.add_parser(name, help=summary)
        command.set_defaults(act=_manage)
        if name in ("check", "costs"):
            command.add_argument("--scale", default="study")
        if name == "check":
            command.add_argument("--papers")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        return options.act(options)
    except StudyError as error:
        print(f"descent: {error}" if "\n" not in str(error) else f"descent:\n{error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `descent list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def checkout() -> Path:
    """The checkout that the command works on: the nearest folder upwards that holds config/papers."""
    start = Path(os.environ.get("DESCENT_ROOT", "."))
    for folder in [start.resolve(), *start.resolve().parents]:
        if (folder / "config" / "papers").is_dir():
            return folder
    raise ConfigError("no checkout here: run this inside the repository, or set DESCENT_ROOT to it")


def _manage(options: argparse.Namespace) -> int:
    from descent.workflow import manage

    root = checkout()
    if options.command == "check":
        return manage.check(root, options.scale, options.papers)
    if options.command == "costs":
        return manage.costs(root, options.scale)
    return getattr(manage, options.command)(root)


def _new(options: argparse.Namespace) -> int:
    """Write a complete small paper that passes the tests as it stands: room, configuration, tests, a page of docs/."""
    from descent.kit.new import new
    from descent.workflow import manage

    root = checkout()
    slug = options.paper
    for path in new(root, slug, title=options.title, authors=options.authors):
        print(path.relative_to(root))
    manage.docs(root)
    print(f"""
Now:   python -m descent run {slug} race --scale smoke --seeds dev
       python -m pytest -n 0 tests/papers/{slug}
       snakemake --cores all --config papers={slug} scale=smoke
       snakemake --cores all --config papers={slug} seeds=dev
The guide: docs/adding-a-paper.md""")
    return 0


def _front(options: argparse.Namespace) -> int:
    """Make the joint files of reports/<scale> (front page, verdicts.csv, checks.csv, verdicts.svg) from the papers' folders there.

    Nothing is trained or judged: what the folders hold is read, whichever run or branch they come from.
    """
    from descent.workflow import manage

    return manage.front(checkout(), options.scale)


def _mutants(options: argparse.Namespace) -> int:
    from descent.kit.mutants import mutants

    return mutants(checkout(), options.paper, count=options.count, seed=options.seed, limit=options.limit)


def _run(options: argparse.Namespace) -> int:
    """Run the jobs of one experiment, and first those that they need."""
    from dataclasses import replace

    from descent.config.plan import make_plan
    from descent.config.read import read_study

    root = checkout()
    os.environ["DESCENT_ROOT"] = str(root)
    chosen = {
        "scale": options.scale,
        "papers": options.paper,
        "seeds": options.seeds,
        "tier": "extended",
        "bench": True,
    }
    plan = make_plan(root, read_study(root, chosen))
    experiments = plan.papers[options.paper].experiments
    if options.experiment not in experiments:
        raise ConfigError(
            f"{options.paper} has no experiment `{options.experiment}`{nearest(options.experiment, experiments)}; it has {listed(experiments)}"
        )
    jobs = plan.of(options.paper, options.experiment)
    if options.block:
        blocks = [job.block for job in jobs]
        jobs = [job for job in jobs if job.block == options.block]
        if not jobs:
            raise ConfigError(
                f"{options.experiment} has no block `{options.block}`{nearest(options.block, blocks)}; it has {listed(blocks)}"
            )
    if options.method:
        methods = sorted({variant.method for job in jobs for variant in job.variants})
        if options.method not in methods:
            raise ConfigError(
                f"{options.experiment} has no method `{options.method}`{nearest(options.method, methods)}; it has {listed(methods)}"
            )
        kept = [replace(job, variants=tuple(v for v in job.variants if v.method == options.method)) for job in jobs]
        jobs = [job for job in kept if job.variants]
    if options.set:
        jobs = [_changed(job, options.set, plan) for job in jobs]
    if options.device:
        jobs = [replace(job, device=options.device) for job in jobs]
    if not jobs:
        reasons = {m.reason for m in plan.missing if (m.paper, m.experiment) == (options.paper, options.experiment)}
        raise ConfigError(f"nothing to run: {'; '.join(sorted(reasons)) or 'no job at this scale'}")

    from descent.core.job import RECORDS
    from descent.runner.current import is_current
    from descent.runner.devices import refuse_missing_cuda

    refuse_missing_cuda({job.id: job.device for job in jobs})
    from descent.runner.run import execute

    results = (options.results or root / "results" / "run") / plan.study.label
    for id in _needed_first(plan, jobs):
        if not is_current(plan.jobs[id], results):
            print(f"{id} (needed)")
            execute(plan.jobs[id], results)
    folders = []
    for job in jobs:
        print(job.id)
        folders.append(execute(job, results))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        if len(folders) == 1:
            shutil.copyfile(folders[0] / RECORDS, options.out)
        else:
            from descent.core.records import read_records, write_records

            write_records(options.out, read_records([folder / RECORDS for folder in folders]))
        print(options.out)
    else:
        for folder in folders:
            print(folder / RECORDS)
    return 0


def _changed(job, assignments: Sequence[str], plan):
    """The job with settings changed; refused like the configuration's own."""
    from dataclasses import replace

    import yaml

    from descent.config.plan import room_of
    from descent.core.settings import faults

    changes = {}
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"--set {text}: write it as KEY=VALUE")
        changes[name] = yaml.safe_load(value)
    variants = []
    for variant in job.variants:
        allowed = room_of(plan.papers[job.paper]).allowed(job.experiment, variant.method)
        if found := faults(f"--set: {variant.method}", allowed, changes):
            raise ConfigError(found)
        setting = {name: changes.get(name, value) for name, value in variant.setting.items()}
        tuned = {name: need for name, need in variant.tuned.items() if name not in changes}
        variants.append(replace(variant, setting=setting, params={**variant.params, **changes}, tuned=tuned))
    return replace(job, variants=tuple(variants))


def _needed_first(plan, jobs) -> list[str]:
    """Ids of all jobs that `jobs` need, directly or not, each after what it needs itself."""
    order: dict[str, None] = {}

    def visit(job) -> None:
        for ids in job.needs.values():
            for id in ids:
                visit(plan.jobs[id])
                order.setdefault(id)

    for job in jobs:
        visit(job)
    return list(order)


def _list(options: argparse.Namespace) -> int:
    """What there is: papers, or one paper's experiments, methods, scales and claims."""
    from descent.config.model import SCALES
    from descent.config.plan import make_plan, room_of
    from descent.config.read import read_paper, read_study, registered

    root = checkout()
    if options.paper is None:
        for slug in registered(root):
            paper = read_paper(root, slug)
            print(
                f"{slug:12} {paper.title}\n{'':12} {paper.source}; {len(paper.experiments)} experiments, {len(paper.claims)} claims"
            )
        return 0
    plans = {
        scale: make_plan(root, read_study(root, {"papers": options.paper, "scale": scale}), everything=True)
        for scale in SCALES
    }
    paper = plans["study"].papers[options.paper]
    room = room_of(paper)
    print(f"{paper.title}\n{paper.authors}\n{paper.source}\n")
    for name, experiment in paper.experiments.items():
        counts = ", ".join(f"{scale}: {len(plans[scale].of(options.paper, name))} jobs" for scale in SCALES)
        print(f"experiment {name}: {experiment.title} ({experiment.kind}; {counts})")
        for method in experiment.methods:
            print(f"    {method:16} {room.methods[method].label}: {room.methods[method].about}")
    print()
    for name, claim in paper.claims.items():
        print(f"claim {name} ({claim.get('origin', 'paper')}): {' '.join(str(claim['statement']).split())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
