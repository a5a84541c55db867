"""From records to scores, tests, figures and reports."""
