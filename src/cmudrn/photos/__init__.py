"""Photographs: which files, one file restored, how a result came about."""
