"""The life of a task, step by step: dispatch, claim, settle, cancel, and what repairs it."""
