"""Where pairs of degraded and clean pictures come from."""
