"""The use cases, each readable as a list of steps: what the API and the worker ask for."""
