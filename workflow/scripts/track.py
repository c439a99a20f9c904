"""Mirror one paper's records in MLflow."""

from pathlib import Path

from descent.files import write_json
from descent.script import logged, results

with logged(snakemake):
    from descent.track import mirror

    found = results(snakemake)
    summary = mirror(found, Path(snakemake.input[0]).parent, snakemake.params.uri)
    write_json(Path(snakemake.output[0]), summary)
