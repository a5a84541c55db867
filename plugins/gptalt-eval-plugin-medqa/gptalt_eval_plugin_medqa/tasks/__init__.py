"""The functions that the task YAMLs call."""
