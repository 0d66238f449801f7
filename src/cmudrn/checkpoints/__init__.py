"""Training checkpoints and other projects' weight files (torch)."""
