"""One room a paper. A room imports the engine and torch, never another room."""
