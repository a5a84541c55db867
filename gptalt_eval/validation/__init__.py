"""Checks of task YAMLs. No code of a task is run."""
