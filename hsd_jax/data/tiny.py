"""Problems for the embedded tiny model: chains of operations modulo 10, worked out step by step.

    Evaluate from left to right, modulo 10: 7+3-2*7
    7+3=0
    0-2=8
    8*7=6
    The answer is \\boxed{6}.

Every digit and every operator is one token and every solution has the same form, so two attempts at a problem
first differ where one of them computes a wrong digit. Multipliers are coprime to 10: a wrong digit is never
absorbed, only another wrong digit can undo it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RUBRIC = "Work from left to right. Reduce every result modulo 10. Put the last one into the box."
OPERATIONS = (5, 8)
SPLITS = ("train", "heldout")
_OPERANDS = {"+": tuple(range(1, 10)), "-": tuple(range(1, 10)), "*": (3, 7, 9)}
_HELD_OUT_SHARE = 16  # one expression in sixteen


@dataclass(frozen=True)
class Chain:
    """`numbers[0] operators[0] numbers[1] operators[1] ...`, evaluated strictly from left to right."""

    numbers: tuple[int, ...]
    operators: str

    @property
    def expression(self) -> str:
        """The chain as it stands in the question."""
        rest = zip(self.operators, self.numbers[1:], strict=True)
        return str(self.numbers[0]) + "".join(f"{operator}{number}" for operator, number in rest)


@dataclass(frozen=True)
class TinyProblem:
    """One question with its answer and a correct solution, all as text."""

    id: str
    question: str
    answer: str
    solution: str


def random_chain(rng: np.random.Generator, operations: tuple[int, int] = OPERATIONS) -> Chain:
    """A chain whose number of operations is uniform in [low, high], both included."""
    count = int(rng.integers(operations[0], operations[1] + 1))
    operators = "".join(rng.choice(list(_OPERANDS), count))
    numbers = (int(rng.integers(1, 10)), *(int(rng.choice(_OPERANDS[o])) for o in operators))
    return Chain(numbers, operators)


def split_of(chain: Chain) -> str:
    """The split an expression belongs to, by a hash of its text: no expression can be in both."""
    digest = hashlib.sha256(chain.expression.encode()).digest()
    return "heldout" if digest[0] % _HELD_OUT_SHARE == 0 else "train"


def results(chain: Chain, errors: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The result of every step, modulo 10; `errors[i]` is added to step i and carried on from there."""
    errors = errors or (0,) * len(chain.operators)
    value, values = chain.numbers[0], []
    for operator, number, error in zip(chain.operators, chain.numbers[1:], errors, strict=True):
        exact = {"+": value + number, "-": value - number, "*": value * number}[operator]
        value = (exact + error) % 10
        values.append(value)
    return tuple(values)


def question(chain: Chain) -> str:
    """The user's sentence."""
    return f"Evaluate from left to right, modulo 10: {chain.expression}"


def solution(chain: Chain, errors: tuple[int, ...] = ()) -> str:
    """The written steps and the boxed answer; wrong exactly where `errors` is not zero."""
    values = results(chain, errors)
    steps = zip((chain.numbers[0], *values), chain.operators, chain.numbers[1:], values, strict=False)
    lines = [f"{before}{operator}{number}={after}\n" for before, operator, number, after in steps]
    return "".join(lines) + f"The answer is \\boxed{{{values[-1]}}}."


def generate(count: int, *, split: str, seed: int, operations: tuple[int, int] = OPERATIONS) -> Iterator[TinyProblem]:
    """`count` different problems of a split, the same ones for the same seed.

    Raises: ValueError for an unknown split or an empty range of operations.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    low, high = operations
    if not 3 <= low <= high:
        raise ValueError(f"operations must be (low, high) with 3 <= low <= high; got {operations}")
    rng, seen = np.random.default_rng([seed, SPLITS.index(split)]), set()
    while len(seen) < count:
        chain = random_chain(rng, operations)
        if split_of(chain) == split and chain.expression not in seen:
            seen.add(chain.expression)
            name = f"tiny-{split}-{chain.expression}"
            yield TinyProblem(name, question(chain), str(results(chain)[-1]), solution(chain))
