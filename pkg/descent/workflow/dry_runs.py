"""The dry run of both scales against their claims: `python -m descent.workflow.dry_runs > docs/dry-runs.md`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from descent.claims.dry_run import Outcome, dry_run, table
from descent.claims.read.parse import parse_claims
from descent.claims.worlds import WorldSource, parse_world
from descent.config.plan import make_plan, room_of
from descent.config.read import read_study
from descent.config.required import must_exist

DRAWS = 50
POWER = 0.8
INTRODUCTION = """# Dry runs

Every claim judged in {draws} draws of its paper's world (`world:` in config/papers/), as the plan of the scale has it, measured time included, before anything is run and
as if all data were at hand. Made by `make dry-runs`. A column's head says which verdict should be given there and the cells how often it was: as
stated and swapped in at least 80 % of draws, no effect in at most 5 %, a broken control and missing seeds always.
"""
WEAK = """
Decided in fewer than 80 % of draws as stated: {}. There the number of seeds, the setting or the world's own effect leaves it open; the notes of
the claim say which.
"""
UNREAD = """
Run at this scale and read by no claim, for figures and tables: {}.
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


def page(root: Path, scales: Sequence[str], papers: str, draws: int) -> str:
    """docs/dry-runs.md."""
    parts = [INTRODUCTION.format(draws=draws)]
    for scale in scales:
        outcomes = dry_runs(root, scale, papers, draws)
        parts.append(f"\n## Scale {scale}\n\n{table(outcomes)}")
        weak = [f"{slug}.{one.claim}" for slug, found in outcomes.items() for one in found if _weak(one)]
        left = [f"{slug}: {', '.join(names)}" for slug, names in unread(root, scale, papers).items()]
        parts += [WEAK.format(", ".join(weak))] * bool(weak) + [UNREAD.format("; ".join(left))] * bool(left)
    return "".join(parts)


def _weak(one: Outcome) -> bool:
    return bool(one.shares) and not one.why and one.shares["as stated"].get("reproduced", 0.0) < POWER


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", nargs="+", default=["study", "paper"], choices=["study", "paper"])
    parser.add_argument("--papers", default="all")
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args()
    print(page(Path(), options.scale, options.papers, options.draws), end="")


if __name__ == "__main__":
    main()
