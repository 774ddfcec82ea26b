"""Judges: what they are asked, how they are asked, and what becomes of what they say.

What is asked: prompts.py and built_in.py (the words, in versions), protocol.py (brief, fences), kinds.py (a request a
kind of question), parsing.py (replies by schema), config.py (the protocol's settings), plans.py (protocols as plans),
composites.py (panel, cascade), evidence.py and sandbox.py (tools).
How: exchange.py and client.py (one request), outbox.py (many), works.py and voices.py (what is in hand, whose model),
calls.py (what is due, and who may ask it), books.py (claims, money, replies), rounds.py and asking.py (one worker).
What becomes of it: settling.py (troubles), concluding.py (annotations), local.py (models of the registry).
Around it: setup.py, forms.py and secrets.py (making and changing judges), trying.py, statistics.py.
"""

from pipeline.judging.asking import judge_items
from pipeline.judging.calls import judges_due

__all__ = ["judge_items", "judges_due"]
