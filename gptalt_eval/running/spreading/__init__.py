"""A run whose answers come from workers: what they are asked, what they do, what is kept of it."""
