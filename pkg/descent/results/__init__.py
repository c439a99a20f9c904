"""What a run of the study left on disk."""
