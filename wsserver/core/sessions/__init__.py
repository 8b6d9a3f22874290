"""Histories that the server keeps: `model` the words, `store` the port, `tree` and `context` pure
rules, `conversations` the turns of living sessions, `library` all other work on them.
"""
