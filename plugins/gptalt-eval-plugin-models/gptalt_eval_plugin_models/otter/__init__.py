"""Otter: OpenFlamingo tuned on instructions."""
