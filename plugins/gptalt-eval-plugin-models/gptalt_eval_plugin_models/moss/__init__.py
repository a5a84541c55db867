"""MOSS-moon-003."""
