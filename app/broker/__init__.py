"""Celery and Redis: the Celery object, its queues, and publishing."""
