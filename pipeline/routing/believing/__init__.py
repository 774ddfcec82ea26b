"""What the project's own answers teach about its items: fits of the label model, and what follows for each item.

gathering.py   items of the tables as a pool, whole prompts at a time
layouts.py     the columns of a project, the same for every batch; kept as numbers, so that texts are read once
fits.py        the label model fitted to people's answers, in versions
beliefs.py     what follows for each item: the writer of Belief, and of the Priors of source "router"
many_rows.py   many rows changed by one statement
following.py   reads what was answered since, by cursor, and brings everything up to it
"""
