"""A paper that was never trained: its records are written by `make.py`, so that report and mirror have all they can meet."""
