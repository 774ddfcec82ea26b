"""Statements that are compiled to SQL once and then run with other values: for those that every submit waits for.

Django spends four times longer on writing a statement and on reading its rows than on sending it. A statement still
comes from a queryset or a model, so it is the same on every database and changes with the models; what is kept is
its SQL and how its rows are read.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import psycopg.sql
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, Model, QuerySet
from django.db.models.constants import OnConflict
from django.db.models.query import ModelIterable, get_related_populators
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

# What the compiled statement holds in the stead of a value, by the value's place.
NUMBER = -7_310_951_468_213_905_000
FRACTION = -7.310951468e18
WORD = "stand-in-c4b1e0-"
MOMENT = datetime(1000, 1, 1, tzinfo=UTC)

Change = tuple[QuerySet[Any], dict[str, Any]]
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Statement:
    """SQL with its parameters; `places` says which of them are which of the given values."""

    sql: str
    params: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]
    read: Callable[[Iterable[Sequence[Any]]], list[Any]] = list

    def filled(self, values: Sequence[Any]) -> list[Any]:
        params = list(self.params)
        for at, place in self.places:
            params[at] = prepared(values[place])
        return params


statements: dict[Hashable, Statement] = {}
inserts: dict[Hashable, tuple[str, list[Any]]] = {}


def run(key: Hashable, build: Callable[..., QuerySet[Any]], *values: Any) -> list[Any]:
    """What `build(*values)` finds: its models, with those that it selects along, or the tuples of a values_list.

    `key` names the statement: one key, one shape; only the values may differ. They are whole numbers that stand for
    ids, fractions, words or moments: smaller columns do not take a stand-in. Raises ValueError for them.
    """
    here = connections[DEFAULT_DB_ALIAS]
    statement = kept((here.vendor, key), lambda places: compiled_query(build(*places)), values)
    with prepared_cursor(here) as cursor:
        cursor.execute(statement.sql, statement.filled(values))
        return statement.read(cursor.fetchall())


def first(key: Hashable, build: Callable[..., QuerySet[Any]], *values: Any) -> Any:
    """The first of what `build(*values)` finds, or None. The queryset says how many rows are read at most."""
    return next(iter(run(key, build, *values)), None)


def of_items(key: Hashable, build: Callable[[Sequence[int]], QuerySet[Any]], item_ids: Sequence[int]) -> Iterable[Any]:
    """What `build(item_ids)` finds; compiled for one item, the case of every submit."""
    if len(item_ids) != 1:
        return build(item_ids)
    return run(key, lambda pk: build([pk]), item_ids[0])


def update(key: Hashable, build: Callable[..., Change], *values: Any) -> int:
    """Change the rows of a queryset, as `build(*values)` says with (queryset, field → value); returns how many."""
    here = connections[DEFAULT_DB_ALIAS]
    statement = kept((here.vendor, "update", key), lambda places: compiled_update(*build(*places)), values)
    with prepared_cursor(here) as cursor:
        cursor.execute(statement.sql, statement.filled(values))
        return cursor.rowcount


def insert(made: M, *, renew: Sequence[str] = (), unique: Sequence[str] = ()) -> M:
    """Write a new row; the model gets its id. As `save()` does it for a model without parents and signals.

    Where a row with the same `unique` fields is there already, its fields `renew` are set instead.
    """
    model, here = type(made), connections[DEFAULT_DB_ALIAS]
    key = (here.vendor, model, tuple(renew))
    if key not in inserts:
        fields = [field for field in model._meta.local_concrete_fields if not isinstance(field, AutoField)]
        conflict = {
            "on_conflict": OnConflict.UPDATE,
            "update_fields": [model._meta.get_field(name) for name in renew],
            "unique_fields": [model._meta.get_field(name) for name in unique],
        }
        query = InsertQuery(model, **(conflict if renew else {}))
        query.insert_values(fields, [made])
        compiler = query.get_compiler(connection=here)
        compiler.returning_fields = [model._meta.pk]
        inserts[key] = compiler.as_sql()[0][0], fields
    sql, fields = inserts[key]
    with prepared_cursor(here) as cursor:
        cursor.execute(sql, [field.get_db_prep_save(field.pre_save(made, True), here) for field in fields])
        made.pk = cursor.fetchone()[0]
    made._state.adding, made._state.db = False, here.alias
    return made


def prepared_cursor(here: BaseDatabaseWrapper) -> Any:
    """A cursor that lets PostgreSQL plan a statement once for each connection, after a few runs; else the usual one.

    Django's own writes the values into the statement, so that every run is parsed and planned anew. The setting
    `prepare_threshold` says after how many runs a statement is prepared.
    """
    if here.vendor != "postgresql" or here.queries_logged:  # the log wants the statement with its values
        return here.cursor()
    here.close_if_health_check_failed()
    here.ensure_connection()
    return here._prepare_cursor(psycopg.Cursor(here.connection))  # type: ignore[attr-defined]


# --- Compiling ------------------------------------------------------------------------------------------------


def stand_in(value: Any, place: int) -> Any:
    """What stands for a value of this type while a statement is compiled."""
    if isinstance(value, int):
        return NUMBER - place
    if isinstance(value, float):
        return FRACTION * (place + 1)
    if isinstance(value, datetime):
        return MOMENT + timedelta(days=place)
    return f"{WORD}{place}"


def prepared(value: Any) -> Any:
    """A value as the database takes it; stand-ins go the same way."""
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def kept(key: Hashable, compile_it: Callable[[list[Any]], Statement], values: Sequence[Any]) -> Statement:
    """The statement of this key, compiled at the first need."""
    statement = statements.get(key)
    if statement is None:
        places = [stand_in(value, place) for place, value in enumerate(values)]
        raw = compile_it(places)
        found = {prepared(standing): place for place, standing in enumerate(places)}
        at = tuple((n, found[param]) for n, param in enumerate(raw.params) if is_plain(param) and param in found)
        if {place for _, place in at} != set(found.values()):
            raise ValueError(f"The statement {key} does not hold each of its values as it is given.")
        statement = statements[key] = with_constants(Statement(raw.sql, raw.params, at, raw.read))
    return statement


def with_constants(statement: Statement) -> Statement:
    """The statement with its fixed words and numbers in its text: a planner that sees them finds partial indexes."""
    parts, open_places = statement.sql.split("%s"), dict(statement.places)
    if connection.vendor != "postgresql" or len(parts) != len(statement.params) + 1:
        return statement
    sql = parts[0]
    params: list[Any] = []
    places: list[tuple[int, int]] = []
    for n, (param, part) in enumerate(zip(statement.params, parts[1:], strict=True)):
        if n not in open_places and type(param) in (int, str):
            sql += psycopg.sql.quote(param, connection.connection).replace("%", "%%") + part
            continue
        if n in open_places:
            places.append((len(params), open_places[n]))
        params.append(param)
        sql += "%s" + part
    return Statement(sql, tuple(params), tuple(places), statement.read)


def is_plain(param: Any) -> bool:
    return isinstance(param, int | float | str | datetime)


def compiled_query(found: QuerySet[Any]) -> Statement:
    compiler = found.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    return Statement(sql, tuple(params), (), reader(compiler, as_models=found._iterable_class is ModelIterable))


def compiled_update(found: QuerySet[Any], changes: dict[str, Any]) -> Statement:
    query: UpdateQuery = found.query.chain(UpdateQuery)  # type: ignore[assignment]
    query.add_update_values(changes)
    sql, params = query.get_compiler(connection=connection).as_sql()
    return Statement(sql, tuple(params), ())


def reader(compiler: SQLCompiler, *, as_models: bool) -> Callable[[Iterable[Sequence[Any]]], list[Any]]:
    """Turns a compiled query's rows into what its queryset gives, as `ModelIterable` does."""
    select, of_class = compiler.select, compiler.klass_info
    converters = [
        (place, convert, expression)
        for place, (each, expression) in compiler.get_converters([column[0] for column in select]).items()
        for convert in each
    ]

    def converted(row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for place, convert, expression in converters:
            values[place] = convert(values[place], expression, connection)
        return values

    if not as_models:
        return lambda rows: [tuple(converted(row)) for row in rows]
    model, fields = of_class["model"], of_class["select_fields"]
    begin, end = fields[0], fields[-1] + 1
    names = [column[0].target.attname for column in select[begin:end]]
    related = get_related_populators(of_class, select, DEFAULT_DB_ALIAS)  # type: ignore[call-arg]
    annotations = list(compiler.annotation_col_map.items())

    def as_model(row: Sequence[Any]) -> Model:
        values = converted(row)
        made = model.from_db(DEFAULT_DB_ALIAS, names, values[begin:end])
        for populator in related:
            populator.populate(values, made)
        for name, place in annotations:
            setattr(made, name, values[place])
        return made

    return lambda rows: [as_model(row) for row in rows]
