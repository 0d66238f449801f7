"""Other people's networks, written anew, so that they stand beside ours under one protocol."""
