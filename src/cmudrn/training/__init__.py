"""Training: batches, loop, checkpoints, studies (torch)."""
