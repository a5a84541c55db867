"""What models that see pictures have in common."""
