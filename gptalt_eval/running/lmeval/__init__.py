"""All that speaks lm-eval's evaluator: tasks in, scores and samples out.

lm-eval evaluates; what is added is where the rows come from, a look at each answer as it arrives, and a
cache of answers that knows which model gave them. No other part of the core imports lm-eval.
"""
