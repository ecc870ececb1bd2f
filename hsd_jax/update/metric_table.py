"""Every number of a step's line, and from where on it is a bad sign: a new metric is one line here.

The run's guards, the report's health panel and figures, and the table in docs/report.md read it.
"""

import math
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "watch", "act", "unknown"]
SHARE, NATS, COUNT = "share of rollouts", "nats per token", "count"


@dataclass(frozen=True)
class Metric:
    """The unit of a recorded number, and what it says."""

    unit: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.unit[0].upper()}{self.unit[1:]}: {self.meaning}"


# A name that ends in "/" stands for all that begin with it.
METRICS = {
    "reward": Metric(SHARE, "verified as correct"),
    "coverage": Metric(SHARE, "have a successful peer; without one the teacher reads only the answer"),
    "fallback": Metric(SHARE, "whose teacher has read no peer"),
    "masked": Metric(SHARE, "weight 0: neither a peer nor a known answer, or left out by the method"),
    "truncated": Metric(SHARE, "ran into the response limit"),
    "peer_truncated": Metric(SHARE, "whose peer was cut because the teacher context was too long"),
    "peer_markup": Metric("share of successes", "are no peer, as a control token lies inside"),
    "response_length": Metric("tokens", "mean length of a response"),
    "loss": Metric(NATS, "the loss that was minimized"),
    "kl": Metric(NATS, "KL from teacher to student"),
    "first_token_kl": Metric("nats", "KL at the first token, before anything can have diverged"),
    "first_token_agreement": Metric(SHARE, "before whose first token student and teacher favor one token"),
    "kl_by_position": Metric(NATS, "KL in 16 bins of relative position"),
    "kl_reference": Metric(NATS, "KL from the policy to the frozen initial weights"),
    "entropy": Metric(NATS, "of the policy"),
    "teacher_entropy": Metric(NATS, "of the teacher"),
    "overlap": Metric("share of tokens", "among the likeliest of student and teacher alike (`--method.overlap`)"),
    "overlap_mass": Metric("probability", "of the student on those"),
    "overlap_gain": Metric(NATS, "what the teacher adds on those, 0 at the goal"),
    "entropy_gap": Metric(NATS, "between the entropies of student and teacher"),
    "teacher_coherence": Metric("ratio", "how readily the teacher goes on as the student did, after the divergence"),
    "divergence": Metric("tokens", "median position at which a rollout leaves its peer"),
    "credit_at_divergence": Metric("nats", "mean |credit| at the divergence"),
    "credit_before_divergence": Metric("nats", "mean |credit| over the six tokens before it"),
    "credit_mass_8": Metric("share of credit", "lies within eight tokens of the divergence"),
    "sampler_gap": Metric("nats", "mean difference of log-probability between sampler and trainer"),
    "grad_norm": Metric("norm", "of the gradient before clipping"),
    "skipped": Metric("share of updates", "left out, as loss or gradient was not finite"),
    "filled": Metric("share of places", "of the update that hold a token"),
    "questions_drawn": Metric(COUNT, "questions sampled for the step"),
    "repeated_ngrams": Metric("share of n-grams", "that repeat an earlier one of the response"),
    "hedging": Metric("share of words", "wait, hmm, perhaps and the like"),
    "verdict/": Metric(COUNT, "rollouts by the verifier's reason"),
    "eval/pass@": Metric("share of questions", "held out; solved by one of k samples, unbiased; /name: one source's"),
    "eval/greedy": Metric("share of questions", "held out; solved by the likeliest answer"),
    "eval/right_paths": Metric("answers to a question", "different right ones among the samples"),
    "time/": Metric("seconds", "spent in a phase, and in the step"),
    "plan/": Metric("seconds", "that the plan expects of a phase, for the lengths sampled; known TPUs only"),
    "speed/": Metric("tokens per second and chip", "sampled tokens over the time of a phase, and of the step"),
    "speed/update_mfu": Metric(
        "share of peak", "useful operations of the update at the chips' peak, over its time; known TPUs only"
    ),
    "speed/sample_bandwidth": Metric(
        "share of bandwidth", "weights and live keys read at full bandwidth, over the time of sampling; known TPUs only"
    ),
    "hosts/slots": Metric("share of decode steps", "in which a slot wrote a token"),
    "hosts/sample_mean": Metric("seconds", "of sampling, the mean of all hosts"),
    "hosts/sample_slowest": Metric("seconds", "of sampling on the host that all others wait for"),
    "memory/in_use": Metric("GiB", "in use on the fullest chip of all hosts, at the end of the update"),
    "memory/peak": Metric("GiB", "most that was ever in use on a chip"),
    "compiled/programs": Metric(
        COUNT, "programs compiled since the last step, on all hosts; not those found in the cache"
    ),
    "compiled/seconds": Metric("seconds", "to compile programs or find them in the cache, on the slowest host"),
    "recompilations": Metric(COUNT, "programs compiled in the step"),
}


@dataclass(frozen=True)
class Threshold:
    """From `watch` on a finding deserves a look, from `act` on a run should not go on as it is."""

    watch: float
    act: float


# A "ratio" compares the newest steps with the first ones.
THRESHOLDS = {
    "coverage": Threshold(0.40, 0.15),
    "teacher_coherence": Threshold(0.60, 0.35),
    "first_token_kl": Threshold(0.20, 1.00),
    "localization": Threshold(5.0, 2.0),
    "length_ratio": Threshold(0.70, 0.50),
    "entropy_ratio": Threshold(0.50, 0.25),
    "repeated_ngrams": Threshold(0.15, 0.35),
    "teacher_drift": Threshold(0.15, 0.40),
    "reward_drop": Threshold(0.08, 0.20),
    "kl_reference": Threshold(0.50, 1.00),
    "masked": Threshold(0.10, 0.60),
    "truncated": Threshold(0.15, 0.40),
    "peer_truncated": Threshold(0.10, 0.40),
    "unread_answers": Threshold(0.20, 0.50),
    "verifier_failures": Threshold(0.01, 0.05),
    "hedging_ratio": Threshold(0.60, 0.35),
    "grad_norm_ratio": Threshold(5.0, 50.0),
    "beyond_plan": Threshold(1.5, 2.0),
    "recompilations": Threshold(1.0, 5.0),
}


def metric(name: str) -> Metric:
    """The row of a recorded number.

    Raises: KeyError for a name that no row has.
    """
    return METRICS[name] if name in METRICS else METRICS[next((p for p in METRICS if _begins(name, p)), name)]


def judge(value: float, threshold: Threshold) -> Level:
    """The level of a value; whether low or high is bad follows from the order of the two thresholds."""
    if not math.isfinite(value):
        return "unknown"
    low_is_bad = threshold.act < threshold.watch
    beyond = (lambda limit: value < limit) if low_is_bad else (lambda limit: value >= limit)
    return "act" if beyond(threshold.act) else "watch" if beyond(threshold.watch) else "ok"


def markdown() -> str:
    """The table of docs/report.md."""
    rows = (
        f"| `{name}{'...' if name[-1] in '/@' else ''}` | {row.unit} | {row.meaning} |" for name, row in METRICS.items()
    )
    return "\n".join(["| metric | unit | meaning |", "|---|---|---|", *rows]) + "\n"


def _begins(name: str, prefix: str) -> bool:
    return prefix[-1] in "/@" and name.startswith(prefix)
