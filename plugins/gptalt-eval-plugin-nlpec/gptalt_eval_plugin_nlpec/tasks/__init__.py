"""What the task YAMLs beside this file call."""
