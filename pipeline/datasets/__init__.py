"""Datasets: immutable snapshots of settled preferences, and what they are exported as.

settled.py    reads labels with what made them     writing.py    streams them into files, by split
formats/      one file a format                    card.py       the dataset card
snapshots.py  cuts and reads snapshots             exporting.py  a copy for elsewhere: a folder, a ZIP stream
"""
