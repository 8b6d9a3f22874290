"""Answers that several processes make and show together.

A *gateway* accepts requests and shows answers (`answers`), a *worker* has engines and makes them
(`work`); one process may be both. What they share stands behind ports (`ports`): the text in a log,
the work in a queue, limits and repeats counted over all. What must be known of an answer to go on
with it anywhere travels with it (`meta`).
"""
