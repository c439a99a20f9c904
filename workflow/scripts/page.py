"""Draw one paper's figures and write its page."""

from pathlib import Path

from descent.workflow.script import logged, study

with logged(snakemake):
    from descent.report.figures import draw
    from descent.report.page import write_page

    whole, paper = study(snakemake), snakemake.wildcards.paper
    found = whole.found(paper)
    draw(found, Path(snakemake.output.figures))
    write_page(found, Path(snakemake.output.page).parent, whole.costs(paper))
