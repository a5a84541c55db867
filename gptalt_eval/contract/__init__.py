"""What rooms and plugins exchange: errors, requests, plans, records, hooks."""
