"""What files of others would do, and whether the user has allowed it.

A task's YAML: ``deeds`` lists what it does (``code``: its Python, ``reads``: its rows), ``trust`` checks it.
Settings in a file (a run, an experiment): ``asks`` lists what they ask for, ``permits`` checks it.
"""
