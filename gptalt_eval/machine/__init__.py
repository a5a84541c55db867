"""This computer: cache folder, atomic writes, hub access, versions."""
