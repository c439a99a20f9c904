"""The workflow on a cluster: with a fake Slurm always, with a real one where it is installed."""
