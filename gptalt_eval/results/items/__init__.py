"""All items of a report, for its page."""
