"""A paper small enough to test the engine with: it uses every kind of job, and no dataset."""
