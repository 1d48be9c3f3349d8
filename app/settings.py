"""The service's settings: read once from the environment (or `.env`), checked, and documented.

Owns names, units, defaults and ranges. Each field's description is what the READMEs' table says;
a test holds the two together. An invalid value stops the program with one clear message.
"""

import os
import re
import sys
from functools import lru_cache
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.targets import parse_targets, signing_key

# What follows the scheme in a database's URL, as SQLAlchemy reads it: user, password, host, port.
_ONE_HOST = re.compile(
    r"([^@]*@)? (\[[^\]]*\] | [^:/?,\[]*) (:\d{0,5})? ([/?].*)?", re.VERBOSE | re.DOTALL
)
_REDIS_ADDRESS = re.compile(
    r"rediss?:// ([^/?]*@)? (\[[^\]]*\] | [^:/?,\[]*) (:\d{0,5})? (/\d*)? (\?.*)?",
    re.VERBOSE | re.DOTALL,
)

# In seconds: what is longer was meant as never, and more than a time can be counted on from now.
_YEAR = 365 * 86_400
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """Every setting, under the environment variable of the same name in upper case."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_url: str = Field(
        default="postgresql://postgres:postgres@localhost:5432/task_manager",
        description="PostgreSQL, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    )
    redis_url: str = Field(
        default="redis://localhost:6379/0",
        description="Redis or Valkey, as redis://:PASSWORD@HOST:PORT/NUMBER",
    )
    log_level: str = Field(
        default="INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
        description="Least severe level that is logged: DEBUG, INFO, WARNING or ERROR",
    )

    # The API.
    api_threads: int = Field(
        default=20,
        ge=1,
        le=200,
        description="Requests that one API process works on at a time, each with a connection",
    )
    max_waiting_reads: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Reads that one API process keeps waiting; beyond it answers 503",
    )
    max_waiting_writes: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="New tasks that one API process keeps waiting; beyond it answers 503",
    )
    max_body_bytes: int = Field(
        default=1_048_576,
        ge=1024,
        description="Largest request body in bytes; a larger one is answered with 413",
    )
    health_timeout_seconds: Seconds = Field(
        default=1.0,
        description="Longest wait in seconds for each part that GET /health asks",
    )

    # The database, on both sides.
    database_connect_timeout_seconds: Seconds = Field(
        default=2.0,
        description="Longest wait in seconds for a new database connection",
    )
    database_timeout_seconds: Seconds = Field(
        default=5.0,
        description="Longest wait in seconds for the answer to one statement",
    )

    database_prepared_statements: bool = Field(
        default=True,
        description="Whether statements are prepared; false behind a pooler in transaction mode",
    )

    # The worker.
    worker_concurrency: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2),
        ge=1,
        le=1000,
        description="Tasks that one worker runs side by side; default: the cores, at least 2",
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=2,
        le=3600,
        description="Seconds after which a running task whose worker fell silent is run again",
    )
    heartbeat_seconds: float = Field(
        default=0.4,
        ge=0.05,
        le=60,
        description="Seconds between two renewals of a lease; a cancel is noticed at one of them",
    )
    cancel_grace_seconds: float = Field(
        default=5.0,
        ge=0.1,
        le=600,
        description="Seconds a cancelled task has to stop by itself before its process is killed",
    )
    crash_limit: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Worker crashes after which a task ends FAILED instead of running again",
    )
    time_limit_seconds: int = Field(
        default=3600,
        ge=1,
        le=_YEAR,
        description="Longest time in seconds for one attempt; it is then stopped and has failed",
    )
    soft_shutdown_seconds: float = Field(
        default=5.0,
        ge=0.1,
        le=600,
        description="Seconds that running tasks have to finish when their worker is told to stop",
    )
    maintenance_interval_seconds: float = Field(
        default=0.5,
        ge=0.05,
        le=5,
        description="Seconds between two rounds of rescue, requeueing and due retries",
    )
    redispatch_after_seconds: float = Field(
        default=2.0,
        ge=0.1,
        le=600,
        description="Seconds after which a message that is missing in Redis counts as lost",
    )
    max_wait_seconds: float = Field(
        default=600.0,
        ge=1,
        le=_YEAR,
        description="Seconds within which a waiting task is raised up to the most urgent queue",
    )

    unknown_type_seconds: float = Field(
        default=600.0,
        ge=1,
        le=86_400,
        description="Seconds that a task waits for a worker that knows its type before it fails",
    )

    # What is kept.
    retention_days: float = Field(
        default=0.0,
        ge=0,
        le=36_500,
        description="Days after which ended tasks are deleted with their history; 0 keeps them",
    )

    # Task types.
    task_modules: str = Field(
        default="",
        description="Comma-separated importable modules with task types of your own",
    )
    trouble_types: bool = Field(
        default=True,
        description="Whether the types that make trouble on purpose exist: true or false",
    )

    # Limits on what a task takes and leaves.
    max_payload_bytes: int = Field(
        default=262_144,
        ge=1024,
        description="Largest payload in bytes of JSON; a larger one is answered with 422",
    )
    max_result_bytes: int = Field(
        default=262_144,
        ge=1024,
        description="Largest result in bytes of JSON; with a larger one the task has failed",
    )
    max_note_characters: int = Field(
        default=500,
        ge=10,
        le=10_000,
        description="Longest progress note in characters; a longer one is cut",
    )
    max_log_lines: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most lines that are kept of what one attempt logs; the first ones are kept",
    )
    max_log_line_characters: int = Field(
        default=2000,
        ge=10,
        le=100_000,
        description="Longest line that is kept of what an attempt logs; a longer one is cut",
    )
    max_traceback_characters: int = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="Longest traceback that is kept of an attempt; of a longer one, both ends",
    )

    # What tasks do.
    http_request_allow: str = Field(
        default="",
        description="Comma-separated hosts, host:port or networks that http_request may reach "
        "although they are not public",
    )
    http_request_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that http_request signs its requests with; empty: it does not",
    )
    http_request_max_body_bytes: int = Field(
        default=65_536,
        ge=0,
        le=16_777_216,
        description="Bytes that http_request keeps of an answer's body; a longer one is cut",
    )
    http_request_max_header_bytes: int = Field(
        default=16_384,
        ge=1024,
        le=65_536,
        description="Bytes of headers that http_request sends, and that it keeps of an answer",
    )
    http_request_max_retry_after_seconds: float = Field(
        default=3600.0,
        ge=0,
        le=604_800,
        description="Longest pause in seconds that an answer's Retry-After may ask for",
    )
    simulated_work_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Seconds that the simulated work of POST /tasks/ takes; fractions are allowed",
    )

    @field_validator("database_url")
    @classmethod
    def _name_the_driver(cls, url: str) -> str:
        """Accept the URL forms that hosting providers hand out; the driver is always psycopg2."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
            raise ValueError("must start with postgresql://")
        if not _ONE_HOST.fullmatch(rest):
            raise ValueError("must name one host, and its port as a number")
        return f"postgresql+psycopg2://{rest}"

    @field_validator("redis_url")
    @classmethod
    def _check_redis_scheme(cls, url: str) -> str:
        if not url.startswith(("redis://", "rediss://")):
            raise ValueError("must start with redis:// or rediss://")
        if not _REDIS_ADDRESS.fullmatch(url):
            raise ValueError("must name one host, and port and database as numbers")
        return url

    @field_validator("http_request_allow")
    @classmethod
    def _check_targets(cls, targets: str) -> str:
        parse_targets(targets)
        return targets

    @field_validator("http_request_secret")
    @classmethod
    def _check_secret(cls, secret: SecretStr) -> SecretStr:
        signing_key(secret.get_secret_value())
        return secret


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings, read at the first call; end the process if one is invalid."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(step) for step in first["loc"]).upper()
        sys.exit(f"The setting {name} is not valid: {first['msg'].removeprefix('Value error, ')}.")
