# One image for the migration, the API, the worker and Flower: they always run the same code and the same packages,
# and the command alone says which of them a container is.

FROM python:3.13-slim AS base
# Output must reach `docker logs` at once, also when the process dies; the running user owns no file of the
# image, so that Python has nowhere to write bytecode. A worker that is told to stop must give running tasks a
# limited time (SIGQUIT) instead of waiting for them for ever (SIGTERM); Celery reads this name before any of our code.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REMAP_SIGTERM=SIGQUIT
WORKDIR /srv/task-manager


FROM base AS packages
COPY requirements.txt ./
# The virtual environment holds no pip of its own: the base image's pip fills it from outside and stays behind.
# Wheels only, because there is no compiler; --no-deps and the check after it, because requirements.txt is the
# complete list and a package that it misses must fail the build instead of being chosen by the day.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-deps --only-binary=:all: --requirement requirements.txt \
    && pip --python /opt/venv/bin/python check


FROM base AS source
COPY alembic.ini main.py ./
COPY alembic/ alembic/
COPY app/ app/
# Compiled once here, since the read-only container could not keep it and would compile at every start.
RUN python -m compileall -q .


FROM base AS service
LABEL org.opencontainers.image.title="task-manager" \
      org.opencontainers.image.description="Asynchronous task manager: HTTP API, Celery worker, Flower and migrations" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"
# A fixed number, so that volumes and security policies can name the user. Flower's folder is the only place
# that it may write to: a named volume mounted there takes over this owner.
RUN groupadd --gid 10001 task-manager \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin task-manager \
    && install --directory --owner=10001 --group=10001 /var/lib/flower
COPY --from=packages /opt/venv /opt/venv
COPY --from=source /srv/task-manager ./
USER 10001:10001
# 8000 is the API's port, 5555 is Flower's.
EXPOSE 8000 5555
# Health checks depend on what the container is, and therefore stand in docker-compose.yml.
CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]
