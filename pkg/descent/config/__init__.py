"""The configuration: a typed model (`model`), reading it (`read`), and what it asks to be run (`plan`)."""
