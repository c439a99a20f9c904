"""What a paper's room may import of the engine: jobs, settings, declarations, records, streams, loops."""
