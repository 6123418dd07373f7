"""The composition root of a running node: from a node's folder to tasks on a loop.

Each builder below makes one part from the parts before it; nothing else in the node constructs
another stage. Refusals to start are `Misconfigured` or `StoreFailure` with one line for people.
"""
