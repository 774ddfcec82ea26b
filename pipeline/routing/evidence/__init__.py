"""What is known of pairs before a person sees them.

pool.py       pairs and votes as columns          reading.py    a pool from a file
text.py       lengths, overlaps, repetition       votes.py      judges' votes, orders, reasons, references
siblings.py   what pairs of one prompt share      columns.py    all of it as features
"""
