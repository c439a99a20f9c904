"""Run one job (training, tuning choice or measurement)."""

from pathlib import Path

from descent.workflow.forks import call

call(
    "descent.workflow.script:train",
    rule=snakemake.rule,
    wildcards=dict(snakemake.wildcards.items()),
    log=snakemake.log[0],
    job=snakemake.params.job,
    results=snakemake.params.results,
    into=str(Path(snakemake.output.records).parents[3]),
)
