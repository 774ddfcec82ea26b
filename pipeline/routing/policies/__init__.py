"""Who is worth asking: policies as pure functions of features and votes.

judged.py    the judges' own label and doubt, and the rule score: no training
learned.py   the label model and the value of information
counted.py   the gain of answers by counts of their kinds
"""
