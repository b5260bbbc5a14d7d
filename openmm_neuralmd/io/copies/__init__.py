"""Formats that a run's trajectory is copied to: a module each, named as the format, which offers ``FORMAT``."""
