"""Write the front page, the joint tables and the picture of all verdicts."""

from pathlib import Path

from descent.workflow.script import logged, study

with logged(snakemake):
    from descent.report.front import read_judged, titles, write_front
    from descent.report.overview import write_overview

    found = study(snakemake)
    folder, papers = Path(snakemake.output.page).parent, titles(found.root)
    judged = read_judged(folder, papers, {slug: found.found(slug) for slug in found.papers})
    write_front(folder, papers, found.config, judged)
    write_overview(folder, papers, judged)
