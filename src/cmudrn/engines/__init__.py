"""Engines run one exported network on one batch; `open_engine` chooses one."""
