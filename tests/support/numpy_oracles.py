"""The formulas that tests compare with, in NumPy: written from their definitions, without code of the project.

Arrays of log-probabilities have the vocabulary as their last axis; results are in nats.
"""

import numpy as np


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Log-probabilities of logits."""
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def entropy(p: np.ndarray) -> np.ndarray:
    """-sum p log p."""
    return -(np.exp(p) * p).sum(-1)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p || q)."""
    return (np.exp(p) * (p - q)).sum(-1)


def jsd(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence with equal weights."""
    middle = np.log((np.exp(p) + np.exp(q)) / 2)
    return (kl(p, middle) + kl(q, middle)) / 2


def clipped_surrogate(ratio: np.ndarray, advantage: np.ndarray, low: float, high: float) -> np.ndarray:
    """The clipped policy-gradient loss, -min(r A, clip(r, 1 - low, 1 + high) A)."""
    return -np.minimum(ratio * advantage, ratio.clip(1 - low, 1 + high) * advantage)
