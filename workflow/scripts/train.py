"""Run one job (training, tuning choice or measurement)."""

from pathlib import Path

from descent.job import Job
from descent.script import logged

with logged(snakemake) as say:
    from descent.run import execute

    into = Path(snakemake.output.records).parents[3]
    execute(Job.from_json(snakemake.params.job), Path(snakemake.params.results), into=into, say=say)
