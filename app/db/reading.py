"""Tasks as they are shown: one by its id, or a page, as JSON (`app.db.task_json`)."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Select,
    Text,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)

from app.db.engine import Connection
from app.db.models import TaskRow
from app.db.task_json import CONCEALED, JSON, MARK, Terms, parameters
from app.domain.priority import Priority
from app.domain.status import Status

# What PostgreSQL's bigint can hold.
_LARGEST = 2**63 - 1
# Stands between two tasks until the last of them has been cut off. Nor has JSON this one.
_SEPARATOR = "\x02"
# As many tasks as PostgreSQL puts together at a time: a text of its own has 1 GB at most.
_TOGETHER = 100
# A page ends before its limit when it is larger than this, and so large a text comes in parts: a
# task may have a megabyte, and Python takes up to four bytes for a character, several times over.
_LARGE_BYTES = 8 * 2**20


class TaskText(NamedTuple):
    """The JSON of a task (`app.api.schemas.TaskOut`), and its payload where a mark is in it."""

    id: int
    json: str
    type: str
    payload: str | None


class PageText(NamedTuple):
    """The JSON of some tasks, without brackets, and what the marks in it stand for, in its order.

    And where the next page starts, if there is one.
    """

    json: str
    types: list[str]
    payloads: list[str]
    next_before: int | None


def read_many(connection: Connection, task_ids: Sequence[int], terms: Terms) -> dict[int, TaskText]:
    """Return those of these tasks that there are, by id."""
    rows = connection.execute(_MANY, {"p_ids": list(task_ids), **parameters(terms)})
    return {row[0]: TaskText(*row) for row in rows}


_MANY = select(TaskRow.id, JSON, TaskRow.type, CONCEALED).where(
    TaskRow.id == func.any(cast(bindparam("p_ids"), ARRAY(BigInteger)))
)


def read_page(
    connection: Connection,
    terms: Terms,
    *,
    statuses: Collection[Status],
    priorities: Collection[Priority],
    before: int | None,
    skip: int,
    limit: int,
) -> PageText:
    """Return up to `limit` tasks, newest first, with ids below `before`; no values mean any.

    Fewer, though there are more, where these are large.
    """
    own = parameters(terms)
    texts: list[str] = []
    types: list[str] = []
    payloads: list[str] = []
    together, size = _TOGETHER, 0
    while True:
        count = min(limit, together)
        # One more than wanted tells whether there are more.
        statement, values = page_query(
            statuses=statuses, priorities=priorities, before=before, skip=skip, limit=count + 1
        )
        ids, bytes_, text, marked, concealed = connection.execute(
            statement, {**values, **own}
        ).one()
        if ids is None:
            before = None
            break
        if text is None:
            # These are too large together.
            together = max(1, count // 8)
            continue
        size += bytes_
        has_more = len(ids) > count
        texts.append(text[: text.rindex(_SEPARATOR)] if has_more else text)
        if marked:
            # The one that was cut off may have been marked, too.
            marks = texts[-1].count(MARK)
            types += marked[:marks]
            payloads += concealed[:marks]
        before, skip, limit = ids[count - 1] if has_more else None, 0, limit - count
        if not has_more or not limit or size > _LARGE_BYTES:
            break
    return PageText(_SEPARATOR.join(texts).replace(_SEPARATOR, ","), types, payloads, before)


def page_query(
    *,
    statuses: Collection[Status],
    priorities: Collection[Priority],
    before: int | None,
    skip: int,
    limit: int,
) -> tuple[Select[Any], dict[str, Any]]:
    """Return the statement for a page, one of three, and its parameters."""
    values: dict[str, Any] = {"p_before": before or _LARGEST, "p_limit": limit}
    wanted = (set(statuses or Status), set(priorities or Priority))
    if wanted == (set(Status), set(Priority)):
        return (_SKIPPING_PAGE, values | {"p_skip": skip}) if skip else (_PAGE, values)
    values["p_skip"] = skip
    values["p_statuses"], values["p_priorities"] = (sorted(each) for each in wanted)
    values["p_most"] = min(skip + limit, _LARGEST)
    return _FILTERED_PAGE, values


_before = bindparam("p_before", type_=BigInteger)
_skip = bindparam("p_skip", type_=BigInteger)
_limit = bindparam("p_limit", type_=BigInteger)


def _page(page: Select[Any]) -> Select[Any]:
    """Return the statement that makes one row of a page's rows, in their order.

    Without texts where these are large, unless they are of one task and of the one that tells
    whether there are more. Aggregates take rows as a subquery gives them (PostgreSQL's manual,
    "Aggregate Functions").
    """
    row = page.subquery("page").c
    is_marked = row.payload.is_not(None)
    texts = func.string_agg(row.json, _SEPARATOR)
    payloads = func.sum(func.octet_length(row.payload)).filter(is_marked)
    made = (
        select(
            func.array_agg(row.id).label("ids"),
            (func.octet_length(texts) + func.coalesce(payloads, 0)).label("bytes"),
            texts.label("texts"),
            func.array_agg(row.type).filter(is_marked).label("types"),
            func.array_agg(row.payload).filter(is_marked).label("payloads"),
        )
        .subquery("made")
        .c
    )
    is_fit = or_(made.bytes <= _LARGE_BYTES, func.cardinality(made.ids) <= 2)
    return select(
        made.ids,
        made.bytes,
        *(case((is_fit, each)) for each in (made.texts, made.types, made.payloads)),
    )


_columns = (TaskRow.id, JSON.label("json"), TaskRow.type, CONCEALED.label("payload"))
_newest_first = TaskRow.id.desc()


def _rows_of(ids: Select[Any]) -> Select[Any]:
    """Return the SELECT of these tasks' rows.

    By an array, which PostgreSQL takes for a short one. For a join with so many rows as a parameter
    says it plans, once for all parameters, to read the whole table.
    """
    array = func.array(ids.scalar_subquery())
    return select(*_columns).where(TaskRow.id == any_(array)).order_by(_newest_first)


# Planned once for all parameters, a limit is guessed to be a tenth of what is found, and for so
# many rows sorting the whole table may seem better. The most that it can be says enough; rows that
# the outer limit does not ask for are not read.
_most = select(*_columns).where(TaskRow.id < _before).order_by(_newest_first).limit(_TOGETHER + 1)
_of_most = _most.subquery("newest").c
_PAGE = _page(select(*_of_most).order_by(_of_most.id.desc()).limit(_limit))
# What is skipped costs a look into an index, and nothing of it is written.
_SKIPPING_PAGE = _page(
    _rows_of(
        select(TaskRow.id)
        .where(TaskRow.id < _before)
        .order_by(_newest_first)
        .offset(_skip)
        .limit(_limit)
    )
)

# The newest of each wanted combination of status and priority come from an index, one after the
# other, and the newest of them are the page. So its cost does not grow with the table, however rare
# or frequent what is wanted may be.
_status = (
    func.unnest(cast(bindparam("p_statuses"), ARRAY(Text)))
    .table_valued("value", name="wanted_status")
    .render_derived()
)
_priority = (
    func.unnest(cast(bindparam("p_priorities"), ARRAY(Text)))
    .table_valued("value", name="wanted_priority")
    .render_derived()
)
# Not by the id alone, with the status and the priority being equal to these: for what may be rare,
# PostgreSQL might then walk down the ids through the tasks of all others. Rows are compared as the
# index has them, from the first to the last of this combination, and nothing else has this order.
_place = tuple_(TaskRow.status, TaskRow.priority, TaskRow.id)
_of_each = (
    select(TaskRow.id)
    .where(
        _place < tuple_(_status.c.value, _priority.c.value, _before),
        _place > tuple_(_status.c.value, _priority.c.value, literal(0)),
    )
    .order_by(TaskRow.status.desc(), TaskRow.priority.desc(), _newest_first)
    .limit(bindparam("p_most", type_=BigInteger))
    .lateral("of_each")
)
_FILTERED_PAGE = _page(
    _rows_of(
        select(_of_each.c.id)
        .select_from(_status)
        .join(_priority, true())
        .join(_of_each, true())
        .order_by(_of_each.c.id.desc())
        .offset(_skip)
        .limit(_limit)
    )
)
