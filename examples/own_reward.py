"""A reward of one's own: steps of the arithmetic that end in an even digit, right or wrong.

python -m hsd_jax.train --config configs/tiny.py --workdir runs/even --method.name grpo \\
    --verifier.function examples.own_reward:even
"""

from hsd_jax.types import Verdict


def even(question: str, response: str, record: dict) -> Verdict:
    """The share of the response's lines that end in an even digit; `detail` is what feedback tells a teacher."""
    ends = [line.strip()[-1:] for line in response.splitlines() if line.strip()]
    share = sum(end in "02468" for end in ends) / max(len(ends), 1)
    return Verdict(share, "correct" if share > 0.5 else "wrong", detail="Too many of its steps end in an odd digit.")
