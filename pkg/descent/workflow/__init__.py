"""What the Snakefile and its scripts call: the study as resolved, logs, forked jobs, housekeeping."""
