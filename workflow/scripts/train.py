"""Run one job (training, tuning choice or measurement)."""

from pathlib import Path

from descent.devices import claim_gpu
from descent.job import Job
from descent.script import logged

with logged(snakemake) as say, claim_gpu(Path(".snakemake") / "gpus"):
    job = Job.from_json(snakemake.params.job)
    from descent.run import execute  # after the GPU is claimed: torch looks at the devices only once

    into = Path(snakemake.output.records).parents[3]
    execute(job, Path(snakemake.params.results), into=into, say=say)
