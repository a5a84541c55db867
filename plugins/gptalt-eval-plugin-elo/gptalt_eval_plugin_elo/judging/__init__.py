"""Models as judges: every pair of answers, in both orders."""
