"""From a checkpoint to a model file, and a live network as an engine (torch)."""
