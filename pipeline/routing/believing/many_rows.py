"""Many rows of a table changed by one statement: what a pass over a million beliefs would else spend most time on.

Django writes a parameter for each value of each row, and the driver reads them all again. PostgreSQL takes each column
as one array; SQLite runs a prepared statement row by row, which costs it little.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


def update(model: type[Model], names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Set the fields `names` of these rows: each is the primary key, and then a value for each name."""
    if not rows:
        return
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    key: Any = model._meta.pk
    table, own = quoted(model._meta.db_table), quoted(key.column)
    adapted = [
        [field.get_db_prep_save(value, connection) for field, value in zip((key, *fields), row, strict=True)]
        for row in rows
    ]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            columns = [quoted(field.column) for field in fields]
            kinds = [field.db_type(connection) for field in (key, *fields)]
            arrays = ", ".join(f"%s::{kind}[]" for kind in map(of_array, kinds))
            sets = ", ".join(f"{column} = new.{column}" for column in columns)
            cursor.execute(
                f"UPDATE {table} SET {sets} FROM unnest({arrays}) AS new({', '.join([own, *columns])}) "  # noqa: S608
                f"WHERE {table}.{own} = new.{own}",
                [list(column) for column in zip(*adapted, strict=True)],
            )
        else:
            sets = ", ".join(f"{quoted(field.column)} = %s" for field in fields)
            cursor.executemany(
                f"UPDATE {table} SET {sets} WHERE {own} = %s",  # noqa: S608 - names of our own models
                [[*values, pk] for pk, *values in adapted],
            )


def quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def of_array(kind: str) -> str:
    """The type of a column as an array holds it."""
    return {"bigserial": "bigint", "serial": "integer"}.get(kind, kind)
