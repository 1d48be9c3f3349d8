"""The one-command local run: the whole service with embedded servers, without Docker.

Owns the processes, their order and their data folder. Needs Linux or macOS and the standard
library only, and imports nothing of the service: it starts the service's documented commands.
"""
