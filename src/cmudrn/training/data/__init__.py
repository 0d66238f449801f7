"""Where training patches come from."""
