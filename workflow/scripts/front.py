"""Write the front page and the joint tables."""

from pathlib import Path

from descent.script import logged, study

with logged(snakemake):
    from descent.report.front import write_front

    write_front(Path(snakemake.output.page).parent, study(snakemake))
