"""From a plan to a record: loads the weights, evaluates, saves."""
