"""Judge one paper's claims."""

from pathlib import Path

from descent.workflow.script import logged, results

with logged(snakemake):
    from descent.report.judged import judge_paper

    judge_paper(results(snakemake), Path(snakemake.output[0]))
