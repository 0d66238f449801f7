"""Live sources: cameras, addresses and growing folders, restored as their images come."""
