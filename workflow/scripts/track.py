"""Mirror one paper's records in MLflow."""

from pathlib import Path

from descent.core.files import write_json
from descent.workflow.script import logged, study

with logged(snakemake):
    from descent.tracking.mirror import mirror, store

    whole = study(snakemake)
    summary = mirror(
        whole.found(snakemake.wildcards.paper),
        Path(snakemake.input.page).parents[1],
        store(whole.root, whole.config),
        root=whole.root,
    )
    write_json(Path(snakemake.output[0]), summary)
