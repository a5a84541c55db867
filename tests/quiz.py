"""A task without a fault, for tests that put one into it."""

TASK = """\
task: quiz
dataset_path: our_own/quiz
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: options
doc_to_target: answer
"""
