"""A model of the service's life of a task, checked against the real use cases on real PostgreSQL.

Three explorers share one world: `reachable` closes the set of states that whole operations reach,
`schedules` tries two operations at once in every order of their statements, and `machine` lets
Hypothesis choose among everything, faults included. What must hold is written down once, in
`timeline` and `invariants`. Only the broker is a stand-in: a bag of messages from which anything
may be lost, doubled or taken out of order, which is all that the service may rely on.
"""
