"""Clean image to the same scene in bad weather (NumPy)."""
