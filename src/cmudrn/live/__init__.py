"""Cameras, streams and watched folders."""
