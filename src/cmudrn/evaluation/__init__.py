"""How good a model is: protocols, intervals, tables. Needs the extra `evaluate`."""
