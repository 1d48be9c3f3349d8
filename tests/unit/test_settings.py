"""Addresses are taken as hosting providers hand them out, and refused with what is wrong."""

import pytest
from pydantic import ValidationError
from redis.connection import parse_url
from sqlalchemy import make_url

from app.settings import Settings

FINE = [
    "postgres://u:p@h/db",
    "postgresql://u:p@h:5432/db",
    "postgresql+psycopg2://u:p@h:5432/db?sslmode=require",
    "postgresql://u:pa/s?s:w%40rd@h:5432/db",
    "postgresql://u:p@[::1]:5432/db",
    "postgresql://u@/db?host=/var/run/postgresql",
    "postgresql://u:p@/db?host=one:5432&host=two:5432&target_session_attrs=read-write",
    "postgresql:///db",
]
WRONG = {
    "mysql://u:secret@h/db": "must start with postgresql://",
    "h:5432/db": "must start with postgresql://",
    "postgresql://u:secret@h:port/db": "must name one host, and its port as a number",
    "postgresql://u:secret@one:5432,two:5432/db": "must name one host, and its port as a number",
    "postgresql://u:secret@one,two/db": "must name one host, and its port as a number",
}


@pytest.mark.parametrize("url", FINE)
def test_an_url_that_the_driver_takes_is_taken(url: str) -> None:
    taken = Settings(database_url=url, _env_file=None).database_url
    assert make_url(taken).drivername == "postgresql+psycopg2"
    assert make_url(taken).database == "db"


@pytest.mark.parametrize("url", WRONG)
def test_an_url_that_the_driver_would_choke_on_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=url, _env_file=None)
    (error,) = refused.value.errors()
    assert error["loc"] == ("database_url",)
    assert WRONG[url] in error["msg"]


FINE_REDIS = [
    "redis://",
    "redis://h",
    "redis://h:6379/",
    "redis://:p%2Fw@h:6379/15",
    "rediss://user:p@[::1]:6380/0?ssl_cert_reqs=CERT_REQUIRED",
    "redis://:p@ss@h:6379?socket_timeout=3",
]
WRONG_REDIS = {
    "h:6379/0": "must start with redis:// or rediss://",
    "redis://:secret@h:port/0": "must name one host, and port and database as numbers",
    "redis://:secret@h:6379/abc": "must name one host, and port and database as numbers",
    "redis://:secret@one:6379,two:6379/0": "must name one host, and port and database as numbers",
}


@pytest.mark.parametrize("url", FINE_REDIS)
def test_an_address_of_redis_that_the_client_takes_is_taken(url: str) -> None:
    taken = Settings(redis_url=url, _env_file=None).redis_url
    found = parse_url(taken)
    assert found.get("host") in {None, "h", "::1"}
    assert found.get("db", 0) in {0, 15}


@pytest.mark.parametrize("url", WRONG_REDIS)
def test_an_address_of_redis_that_the_client_would_choke_on_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(redis_url=url, _env_file=None)
    (error,) = refused.value.errors()
    assert error["loc"] == ("redis_url",)
    assert WRONG_REDIS[url] in error["msg"]


@pytest.mark.parametrize("name", ["max_wait_seconds", "time_limit_seconds"])
@pytest.mark.parametrize("seconds", ["999999999999", "1e300", "inf", "nan", "0"])
def test_a_time_that_no_clock_can_count_is_refused(name: str, seconds: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**{name: seconds}, _env_file=None)
    assert [error["loc"] for error in refused.value.errors()] == [(name,)]
