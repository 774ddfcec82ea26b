"""Judges: what they are asked, how they are asked, and what becomes of what they say.

protocol.py   the question about one item in one order     parsing.py    the verdict in a reply
client.py     one request to an endpoint                   secrets.py    keys at rest
calls.py      what is due, and who may ask it              settling.py   what became of it, and what it cost
asking.py     the work of one worker: judge_items          local.py      judges that are models of the registry
setup.py      making and changing judges                   statistics.py what a judge's page shows
"""

from pipeline.judging.asking import judge_items
from pipeline.judging.calls import judges_due

__all__ = ["judge_items", "judges_due"]
