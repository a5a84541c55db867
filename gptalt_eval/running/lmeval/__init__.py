"""The only part of the core that uses lm-eval's evaluator: tasks in, scores and samples out.

lm-eval evaluates; this adds other sources of rows, access to each answer as it arrives, and a cache of
answers for each model.
"""
