"""Does a job: devices, datasets, the loop's checkpoint, the sidecar, measured time, tuning, source hashes."""
