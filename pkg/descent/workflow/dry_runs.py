"""The dry run of a scale against its claims: `python -m descent.workflow.dry_runs --scale study > docs/dry-runs.md`."""

from __future__ import annotations

import argparse
from pathlib import Path

from descent.claims.dry_run import Outcome, dry_run, table
from descent.claims.read.parse import parse_claims
from descent.claims.worlds import WorldSource, parse_world
from descent.config.plan import make_plan, room_of
from descent.config.read import read_study
from descent.config.required import must_exist

DRAWS = 200
INTRODUCTION = """# Dry runs

Every claim judged in {draws} draws of its paper's world (`world:` in config/papers/), planned as at scale {scale} with measured time, before anything is run and as if all data were at hand.
Made by `python -m descent.workflow.dry_runs --scale {scale}`. A column's head says which verdict should be given there and the cells how often
it was: as stated and swapped in at least 80 % of draws, no effect in at most 5 %, a broken control and missing seeds always.

"""


def dry_runs(root: Path, scale: str, papers: str = "all", draws: int = DRAWS) -> dict[str, list[Outcome]]:
    """paper -> the outcome of each claim; papers without a world are left out. Raises ConfigError where a world says too little."""
    plan = make_plan(root, read_study(root, {"scale": scale, "papers": papers, "bench": True}), any_data=True)
    found = {}
    for slug, paper in plan.papers.items():
        if paper.world:
            where = f"config/papers/{slug}.yaml"
            source = WorldSource(parse_world(paper.world, where), must_exist(plan, slug, room_of(paper)), draws)
            found[slug] = [dry_run(claim, source, scale, where) for claim in parse_claims(paper.claims, where).values()]
    return found


def unread(root: Path, scale: str, papers: str = "all") -> dict[str, list[str]]:
    """paper -> the experiments that this scale runs and no claim reads: figures and tables must be their reason."""
    plan = make_plan(root, read_study(root, {"scale": scale, "papers": papers}), any_data=True)
    found = {}
    for slug, paper in plan.papers.items():
        read = {name for claim in parse_claims(paper.claims).values() for name in claim.experiments()}
        fed = {need for job in plan.of(slug) for ids in job.needs.values() for need in (i.split("/")[1] for i in ids)}
        found[slug] = [
            name for name in dict.fromkeys(job.experiment for job in plan.of(slug)) if name not in read | fed
        ]
    return {slug: names for slug, names in found.items() if names}


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="study", choices=["study", "paper"])
    parser.add_argument("--papers", default="all")
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args()
    print(
        INTRODUCTION.format(draws=options.draws, scale=options.scale)
        + table(dry_runs(Path(), options.scale, options.papers, options.draws)),
        end="",
    )


if __name__ == "__main__":
    main()
