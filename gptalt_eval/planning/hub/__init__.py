"""The files of a model that is somewhere else: on the hub, on a mirror of it, or on ModelScope.

What they need is checked before anything is downloaded, and what arrived is checked before it is used.
"""
