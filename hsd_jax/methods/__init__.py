"""The table of methods: what their views read, whose weights teach, who gets credit, what is minimized at a token.

The step knows nothing of any method; it runs the functions of a row. `python -m hsd_jax.train` prints the row that a
run resolves to, and docs/methods.md shows how to add one.
"""

from hsd_jax.methods.contrasts import CONTRASTS
from hsd_jax.methods.given_texts import GIVEN_TEXTS
from hsd_jax.methods.on_policy import ON_POLICY
from hsd_jax.methods.paper import PAPER
from hsd_jax.methods.row import (
    ANCHOR,
    REFERENCE,
    Memory,
    Method,
    View,
    Views,
    forget,
    further_texts,
    has_teacher,
    is_on_policy,
    is_scored_beforehand,
    no_memory,
    peer_of,
    pieces,
    readings,
    start_memory,
    teacher_reads,
    token_loss,
    views,
)
from hsd_jax.methods.scheduled import SCHEDULED
from hsd_jax.methods.selecting import SELECTING
from hsd_jax.methods.targets import TARGETS
from hsd_jax.methods.weighing import WEIGHING

METHODS: dict[str, Method] = PAPER | WEIGHING | TARGETS | SELECTING | CONTRASTS | ON_POLICY | GIVEN_TEXTS | SCHEDULED

__all__ = [
    "ANCHOR",
    "METHODS",
    "REFERENCE",
    "Memory",
    "Method",
    "View",
    "Views",
    "forget",
    "further_texts",
    "has_teacher",
    "is_on_policy",
    "is_scored_beforehand",
    "no_memory",
    "peer_of",
    "pieces",
    "readings",
    "start_memory",
    "teacher_reads",
    "token_loss",
    "views",
]
