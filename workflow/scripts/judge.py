"""Judge one paper's claims."""

from pathlib import Path

from descent.workflow.script import logged, study

with logged(snakemake):
    from descent.report.judged import judge_paper

    whole, paper = study(snakemake), snakemake.wildcards.paper
    judge_paper(whole.found(paper), Path(snakemake.output[0]), whole.costs(paper))
