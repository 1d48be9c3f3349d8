"""Statements that each connection has PostgreSQL parse and plan once, each one a transaction.

To plan one of ours takes the server longer than to run it. psycopg2 knows no prepared statements,
so they are made with SQL (PostgreSQL's manual, "PREPARE"). A connection without an explicit
transaction also saves the round trips of BEGIN and COMMIT. Owns no pool: see `app.db.engine`.
"""

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, BindParameter, Dialect, Executable, PoolProxiedConnection
from sqlalchemy.dialects.postgresql.base import PGCompiler
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

# A plan is made for the tables as they are. While they grow from nothing to millions of rows, it
# has to be made anew now and then; so often costs nothing that can be measured. In seconds.
_PLANS_LAST_SECONDS = 5.0
# Statements are built once, when their module is imported. More than this many were not.
_MOST_STATEMENTS = 200

Row = Sequence[Any]
Process = Callable[[Any], Any] | None


class _Compiler(PGCompiler):
    """Writes constants into the statement's text, and leaves only what changes a parameter.

    A partial index is used only for a condition that the planner can read.
    """

    def visit_bindparam(self, bindparam: Any, *places: Any, **options: Any) -> Any:
        if not bindparam.required:
            options["literal_binds"] = True
        return super().visit_bindparam(bindparam, *places, **options)  # type: ignore[no-untyped-call]  # Stubs.


class _Dialect(PGDialect_psycopg2):
    statement_compiler = _Compiler
    supports_statement_cache = False
    # PostgreSQL's strings have none (its manual, "standard_conforming_strings").
    _backslash_escapes = False


_DIALECT: Dialect = _Dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # Stubs.
_numbers = itertools.count(1)


class Prepared:
    """One statement, for any connection."""

    def __init__(self, statement: Executable) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]  # Of all.
        # Named by its line in the timeline, if it writes one, for whoever looks at the server.
        written = re.search(r"INSERT INTO task_events .*? '(\w+)'", str(compiled), re.DOTALL)
        self.name = f"{written[1] if written else 'statement'}_{next(_numbers)}"
        self.text = f"PREPARE {self.name} AS {compiled}"
        order: Sequence[str] = compiled.positiontup or ()
        self._given = [(name, _bind(compiled.binds[name])) for name in order]
        places = ", ".join("%s" for _ in order)
        self.call = f"EXECUTE {self.name} ({places})" if order else f"EXECUTE {self.name}"
        # What a SELECT selects, or what anything else returns.
        columns: Any = getattr(statement, "exported_columns", ())
        processes = [_result(column) for column in columns]
        self._processes = processes if any(processes) else None

    def values(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the parameters in the statement's order, as psycopg2 takes them."""
        return tuple([_written(parameters[name], process) for name, process in self._given])

    def rows(self, found: Sequence[Row]) -> Sequence[Row]:
        """Return rows with their values as SQLAlchemy's types give them."""
        if self._processes is None:
            return found
        return [
            tuple(
                value if process is None else process(value)
                for value, process in zip(row, self._processes, strict=True)
            )
            for row in found
        ]


def _bind(parameter: BindParameter[Any]) -> Process:
    return parameter.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)


def _written(value: Any, process: Process) -> Any:
    if process is not None:
        return process(value)
    return array_literal(value) if type(value) is list else value


def array_literal(values: Sequence[Any]) -> str:
    """Return an array as one literal (PostgreSQL's manual, "Array Value Input").

    psycopg2 would write an expression with a constant for each value, which takes both sides
    several times as long.
    """
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value)
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _result(column: Any) -> Process:
    # psycopg2 itself makes Python values of all others; SQLAlchemy keeps it from doing so here.
    if not isinstance(column.type, JSON):
        return None
    process: Process = column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
    return process


_prepared: dict[Executable, Prepared] = {}


def _prepare(statement: Executable) -> Prepared:
    known = _prepared.get(statement)
    if known is None:
        assert len(_prepared) < _MOST_STATEMENTS, "a statement is built again and again"
        known = _prepared[statement] = Prepared(statement)
    return known


class Result:
    """The rows that a statement returned, read like SQLAlchemy's result."""

    def __init__(self, rows: Sequence[Row], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def all(self) -> Sequence[Row]:
        """Return all rows."""
        return self._rows

    def first(self) -> Row | None:
        """Return the first row, or None."""
        return self._rows[0] if self._rows else None

    def one(self) -> Row:
        """Return the only row."""
        (row,) = self._rows
        return row

    def scalar(self) -> Any:
        """Return the first value of the first row, or None."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """Return the only value."""
        (value,) = self.one()
        return value


class Direct:
    """A connection on which every statement is prepared, and a transaction of its own.

    Stores take it in place of SQLAlchemy's connection for statements that are built once.
    """

    def __init__(self, connection: PoolProxiedConnection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    def execute(self, statement: Executable, parameters: Mapping[str, Any] = {}) -> Result:
        """Run a statement and return its rows, as plain tuples."""
        prepared = _prepare(statement)
        cursor = self._cursor
        info = self._connection.info
        names = info.setdefault("prepared", set())
        now = time.monotonic()
        if now > info.setdefault("plans_last_until", now + _PLANS_LAST_SECONDS):
            info["plans_last_until"] = now + _PLANS_LAST_SECONDS
            cursor.execute("DISCARD PLANS")
        if prepared.name not in names:
            cursor.execute(prepared.text)
            names.add(prepared.name)
        cursor.execute(prepared.call, prepared.values(parameters))
        if cursor.description is None:
            return Result([], cursor.rowcount)
        return Result(prepared.rows(cursor.fetchall()), cursor.rowcount)
