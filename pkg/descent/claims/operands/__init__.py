"""Records -> one number a replicate, with what is missing, censored, diverged or undefined counted."""
