"""From a request to a plan: finds every name, dataset and model."""
