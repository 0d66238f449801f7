"""The paper's networks and losses (torch)."""
