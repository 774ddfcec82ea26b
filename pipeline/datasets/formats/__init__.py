"""Formats that a snapshot can be written in, one file a format.

A format has NAME, TITLE, SCHEMA (Arrow), COLUMNS (what each means) and `row_of(settled) → dict`, which raises
LeftOut for labels that it has no row for.
"""

from pipeline.datasets.formats import trl_preference

FORMATS = {trl_preference.NAME: trl_preference}
