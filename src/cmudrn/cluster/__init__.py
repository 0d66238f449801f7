"""Many files on many machines: a folder restored by Ray workers."""
