"""Queries that are compiled to SQL once and then run with other numbers: for the few that every submit waits for.

Django spends more time on writing a long statement than the database on running it. The statement still comes from
a queryset, so it is the same on every database and changes with the models.
"""

from collections.abc import Callable, Hashable
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.query import RawQuerySet

STAND_IN = -7_310_951_468_213_905_000  # less the place of a number: what the compiled statement holds in its stead

statements: dict[Hashable, tuple[type[Model], str, tuple[Any, ...]]] = {}


def run(key: Hashable, build: Callable[..., QuerySet[Any]], *numbers: int) -> "RawQuerySet[Any]":
    """What `build(*numbers)` finds. `key` names the statement: one key, one shape; only the numbers may differ.

    Numbers are ids: columns that are smaller, or no integers, do not take a stand-in. Raises ValueError for them.
    """
    key = (connection.vendor, key)
    if key not in statements:
        found = build(*(STAND_IN - place for place in range(len(numbers))))
        sql, params = found.query.get_compiler(connection=connection).as_sql()
        if not {STAND_IN - place for place in range(len(numbers))} <= set(params):
            raise ValueError(f"The statement {key} does not hold each of its numbers as it is given.")
        statements[key] = found.model, sql, params
    model, sql, params = statements[key]
    given = {STAND_IN - place: number for place, number in enumerate(numbers)}
    return model._default_manager.raw(sql, [given.get(param, param) for param in params])
