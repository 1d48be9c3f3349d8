"""How fast the service is, beside what it could be at best on the same machine: `make bench`.

Every figure is a ratio of two that were taken one after the other in the same run, several rounds
of it. Nothing is switched off for it: durable servers, validation, the timeline, events.
"""
