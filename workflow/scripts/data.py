"""Fetch the embedded datasets."""

from descent.data import fetch
from descent.workflow.script import logged

with logged(snakemake):
    fetch(embedded=True, imports=False)
