"""Small corpora of our own questions in the exact files and columns of the public ones."""

import base64
import gzip
import json
import pickle
import zlib
from pathlib import Path

import pyarrow
import pyarrow.parquet

NUMBERS = range(3, 15)


def lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode())) if path.suffix == ".gz" else path.write_text(text)


def parquet(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def math_row(n: int, topic: str) -> dict:
    return {
        "problem": f"A {topic} courtyard has {n} rows of {n + 2} lanterns each, and {n} more hang over its gate. "
        "What is the total number of lanterns in the whole place?",
        "level": f"Level {n % 5 + 1}",
        "type": topic,
        "solution": f"There are ${n}\\cdot {n + 2}+{n}=\\boxed{{{n * (n + 3)}}}$ lanterns.",
    }


def math(root: Path) -> None:
    for topic in ("algebra", "geometry"):
        rows = [math_row(n, topic) for n in NUMBERS]
        rows.append({"problem": "Show it.", "level": "Level 5", "type": topic, "solution": "By induction."})
        parquet(root / topic / "train-00000-of-00001.parquet", rows)
        parquet(root / topic / "test-00000-of-00001.parquet", [math_row(n, topic) for n in (20, 21)])


def math500(root: Path) -> None:
    rows = [
        {
            "problem": f"Let $S$ be the set of all divisors of ${n}!$ that are perfect cubes. Describe how one would "
            f"count them, then compute $\\dfrac{{{n}}}{{{n + 1}}}+\\frac{{1}}{{{n + 1}}}$ for the record.",
            "solution": "It is $\\boxed{1}$.",
            "answer": "1",
            "subject": "Number Theory",
            "level": 3,
            "unique_id": f"test/number_theory/{n}.json",
        }
        for n in range(5, 9)
    ]
    lines(root / "test.jsonl", rows)


def gsm8k(root: Path) -> None:
    stories = {
        "train": "A driver delivers {n} parcels of {m} kilos every morning for {k} mornings. How many kilos is that?",
        "test": "{k} shelves hold {n} jars each and a jar weighs {m} ounces. What do all jars weigh together?",
    }
    for name, count in (("train", 12), ("test", 4)):
        rows = [
            {
                "question": stories[name].format(n=n, m=n + 1, k=n + 3),
                "answer": f"{n} * {n + 1} = <<{n}*{n + 1}={n * (n + 1)}>>{n * (n + 1)} each time.\n"
                f"#### {n * (n + 1) * (n + 3):,}",
            }
            for n in range(7, 7 + count)
        ]
        lines(root / f"{name}.jsonl", rows)


def numina_rows() -> list[dict]:
    good = {"problem_type": "Algebra", "question_type": "math-word-problem", "problem_is_valid": "Yes"}
    good |= {"solution_is_valid": "Yes", "source": "olympiads", "synthetic": False}
    rows = [
        {
            "problem": f"Solve $x^2-{2 * n}x+{n * n}=0$ over the reals, as in round {n}.",
            "solution": "",
            "answer": str(n),
        }
        | good
        for n in NUMBERS
    ]
    bad = [
        {"question_type": "proof", "answer": "proof"},
        {"question_type": "MCQ", "answer": "B"},
        {"answer": "notfound"},
        {"problem_is_valid": "Problem not solved"},
        {"synthetic": True},
        {"source": "gsm8k"},
        {"answer": "9" * 300},
    ]
    return rows + [rows[0] | {"problem": f"Dirty {i}"} | change for i, change in enumerate(bad)]


def numina(root: Path) -> None:
    parquet(root / "data" / "train-00000-of-00001.parquet", numina_rows())


def numina_cot(root: Path) -> None:
    rows = [
        {
            "source": "olympiads",
            "problem": f"Find ${n}^2$ by hand.",
            "solution": f"It is $\\boxed{{{n * n}}}$.",
            "messages": [{"content": "x", "role": "user"}],
        }
        for n in NUMBERS
    ]
    choices = "Which one? (A) one (B) two (C) three"
    rows.append({"source": "cn_k12", "problem": choices, "solution": "$\\boxed{B}$", "messages": []})
    rows.append({"source": "olympiads", "problem": "Prove it.", "solution": "Clear.", "messages": []})
    parquet(root / "data" / "train-00000-of-00001.parquet", rows)
    parquet(root / "data" / "test-00000-of-00001.parquet", rows[:2])


def apps_row(number: int, **change: object) -> dict:
    tests = {"inputs": [f"{i}\n" for i in range(1, 7)], "outputs": [f"{i * number}\n" for i in range(1, 7)]}
    return {
        "problem_id": number,
        "question": f"The mill multiplies every sack by {number}. Read one integer and print the product.\n\n"
        "-----Input-----\nOne integer.\n\n-----Output-----\nOne integer.\n",
        "solutions": json.dumps([f"print(int(input()) * {number})\n"]),
        "input_output": json.dumps(tests),
        "difficulty": "introductory",
        "url": f"https://example.org/problems/{number}",
        "starter_code": "",
    } | change


def apps(root: Path) -> None:
    call = {"fn_name": "twice", "inputs": [[1], [2], [3]], "outputs": [[2], [4], [6]]}
    stem = "def twice(x):\n\t"
    rows = [apps_row(number) for number in range(2, 8)]
    rows.append(apps_row(8, question="Double it.", input_output=json.dumps(call), starter_code=stem, url="u8"))
    rows.append(apps_row(9, difficulty="competition"))
    rows.append(apps_row(10, input_output=""))
    rows.append(apps_row(11, input_output='{"inputs": ["1"], "outputs": []}'))
    rows.append(apps_row(12, input_output="{broken"))
    big = {"inputs": ["1\n"], "outputs": ["7" * 5000 + "\n"]}
    rows.append(apps_row(13, input_output=json.dumps(big).replace('"' + "7" * 5000 + '\\n"', "7" * 5000), solutions=""))
    lines(root / "train.jsonl", rows)


def packed(tests: list[dict]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def lcb_row(number: int, date: str, **change: object) -> dict:
    stdin = [{"input": f"{i}\n", "output": f"{i + number}\n", "testtype": "stdin"} for i in range(5)]
    return {
        "question_title": f"Ferry {number}",
        "question_content": f"A ferry takes {number} more travellers than asked. Print the number for each request.",
        "platform": "atcoder",
        "question_id": f"abc{number}_a",
        "contest_id": f"abc{number}",
        "contest_date": f"{date}T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(stdin[:2]),
        "private_test_cases": packed(stdin[2:]),
        "metadata": "{}",
    } | change


def livecodebench(root: Path) -> None:
    functional = [{"input": '[1, 2]\n"a"', "output": '["a", 3]', "testtype": "functional"}]
    change = {
        "platform": "leetcode",
        "question_id": "3000",
        "starter_code": "class Solution:\n    def join(self, nums: List[int], s: str) -> list:\n        ",
        "public_test_cases": json.dumps(functional),
        "private_test_cases": packed(functional),
        "metadata": json.dumps({"func_name": "join"}),
    }
    lines(root / "test.jsonl", [lcb_row(301, "2023-08-21"), lcb_row(302, "2024-12-31")])
    lines(root / "test6.jsonl", [lcb_row(390, "2025-01-01"), lcb_row(391, "2025-03-01", **change)])


def aime24(root: Path) -> None:
    rows = [
        {
            "id": index,
            "problem": f"A {name} wall has {index + 11} bricks in each of its {index + 13} courses. Find the bricks.",
            "solution": "",
            "answer": str((index + 11) * (index + 13)),
            "url": f"https://example.org/wiki/{year}_AIME_I_Problems/Problem_{index}",
        }
        for index, (name, year) in enumerate((("red", 2022), ("blue", 2024), ("green", 2024)))
    ]
    parquet(root / "data" / "train-00000-of-00001.parquet", rows)


def aime25(root: Path) -> None:
    lines(root / "test.jsonl", [{"problem": "Count the 70 doves.", "answer": 70, "id": "0"}])


def humaneval_row(number: int) -> dict:
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": f'def add_{number}(x: float) -> float:\n    """Adds {number} to x.\n    """\n',
        "entry_point": f"add_{number}",
        "canonical_solution": f"    return x + {number}\n",
        "test": "def check(candidate):\n"
        f"    assert candidate(1.5) == {number + 1.5}\n    assert candidate(2) == {number + 2}\n",
    }


def humaneval(root: Path) -> None:
    lines(root / "HumanEval.jsonl.gz", [humaneval_row(n) for n in (1, 2)])


def humaneval_plus(root: Path) -> None:
    more = {"base_input": [[1.5]], "plus_input": [[2], [-3]], "atol": 0, "contract": ""}
    rows = [humaneval_row(n) | more for n in (1, 2)]
    for row in rows:
        del row["test"]
    lines(root / "HumanEvalPlus.jsonl.gz", rows)


def jsonl(root: Path) -> None:
    rows = [{"question": f"What is {n} squared?", "answer": n * n, "difficulty": 0.5} for n in NUMBERS]
    rows.append({"question": "Echo.", "tests": [{"input": "a\n", "output": "a\n"}], "solution": "print(input())"})
    lines(root / "train.jsonl", rows)


WRITERS = {
    "math": math,
    "math500": math500,
    "gsm8k": gsm8k,
    "numina": numina,
    "apps": apps,
    "livecodebench": livecodebench,
    "lcb": livecodebench,
    "aime24": aime24,
    "aime25": aime25,
    "humaneval": humaneval,
    "humaneval_plus": humaneval_plus,
    "jsonl": jsonl,
}
