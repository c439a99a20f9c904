"""Write the front page, the joint tables and the picture of all verdicts."""

from pathlib import Path

from descent.workflow.script import logged, study

with logged(snakemake):
    from descent.workflow.ending import write_joint

    whole = study(snakemake)
    write_joint(whole, {slug: whole.found(slug) for slug in whole.papers}, Path(snakemake.output.page).parent)
