"""Correct programs of every common style pass; correct answers of every plain type are recognised."""

# ruff: noqa: E501 - tables of programs and texts read best unwrapped

import functools

import pytest

from hsd_jax.verifiers import cases, code
from tests.support.tiers import needs_sandbox

pytestmark = [pytest.mark.sandbox, needs_sandbox]

SCRIPTS = {
    "input loop": ("n = int(input())\nfor _ in range(n):\n    print(int(input()) * 2)\n", "3\n1\n2\n3\n", "2\n4\n6\n"),
    "input until the end": (
        "import sys\ntotal = 0\nwhile True:\n    try:\n        total += int(input())\n    except EOFError:\n        break\nprint(total)",
        "1\n2\n3",
        "6",
    ),
    "read all": ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", "1 2\n3", "6\n"),
    "read bytes": ("import sys\nprint(len(sys.stdin.buffer.read()))", "héllo\n", "7"),
    "iterate lines": ("import sys\nfor line in sys.stdin:\n    print(line.strip()[::-1])", "abc\ndef\n", "cba\nfed"),
    "readline": ("import sys\ninput = sys.stdin.readline\nprint(int(input()) + int(input()))", "1\n2\n", "3"),
    "open descriptor": ("print(sum(int(x) for x in open(0)))", "1\n2\n", "3"),
    "os.read": ("import os\nprint(sum(map(int, os.read(0, 10**6).split())))", "4 5", "9"),
    "open /dev/stdin": ("print(open('/dev/stdin').read().strip())", "hello", "hello"),
    "main guard": ("def main():\n    print(input())\nif __name__ == '__main__':\n    main()\n", "x", "x"),
    "exit": ("import sys\nprint(1)\nsys.exit()\nprint(2)", "", "1"),
    "exit builtin": ("print(1)\nexit(0)\nprint(2)", "", "1"),
    "os._exit after flush": ("import os\nprint(1, flush=True)\nos._exit(0)", "", "1"),
    "thread with a large stack": (
        "import sys, threading\nsys.setrecursionlimit(10**7)\nthreading.stack_size(1 << 27)\n"
        "def depth(n): return 0 if n == 0 else 1 + depth(n - 1)\ndef main(): print(depth(int(input())))\n"
        "threading.Thread(target=main).start()\n",
        "20000\n",
        "20000",
    ),
    "raised stack limit": (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY,) * 2)\n"
        "sys.setrecursionlimit(10**6)\ndef d(n): return n and 1 + d(n - 1)\nprint(d(30000))",
        "",
        "30000",
    ),
    "cached recursion": (
        "from functools import lru_cache\n@lru_cache(None)\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nprint(f(3000) % 10**9)",
        "",
        str(functools.reduce(lambda pair, _: (pair[1], sum(pair)), range(3000), (0, 1))[0] % 10**9),
    ),
    "large output": ("print('\\n'.join(str(i) for i in range(300000)))", "", "\n".join(map(str, range(300000)))),
    "large input": ("import sys\nprint(sum(map(int, sys.stdin)))", "7\n" * 300000, "2100000"),
    "big integers": ("print(7 ** 6000 % 10**5000 > 10**4990, len(str(10**5000)))", "", "True 5001"),
    "stdout.write": ("import sys\nsys.stdout.write('a')\nsys.stdout.write('b\\n')", "", "ab"),
    "exceptions": (
        "class Bad(Exception): pass\ntry:\n    raise Bad('x')\nexcept Bad as e:\n    print('caught', e)\nfinally:\n    print('done')",
        "",
        "caught x\ndone",
    ),
    "assertions and groups": (
        "try:\n    raise ExceptionGroup('g', [ValueError(1)])\nexcept* ValueError:\n    print('ok')\ntry:\n    assert False\n"
        "except AssertionError:\n    print('ok')",
        "",
        "ok\nok",
    ),
    "standard library": (
        "import bisect, collections, copy, datetime, decimal, fractions, heapq, itertools, json, math, operator, random, re, "
        "statistics, string, time, typing, dataclasses, enum, array, queue, hashlib\n"
        "print(fractions.Fraction(1, 2) + 1, decimal.Decimal('0.1') * 3, json.dumps({'a': 1}), statistics.mean([1, 2]), "
        "datetime.date(2024, 2, 29).weekday(), hashlib.sha256(b'x').hexdigest()[:4])",
        "",
        '3/2 0.3 {"a": 1} 1.5 3 2d71',
    ),
    "asyncio": ("import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    return 5\nprint(asyncio.run(main()))", "", "5"),
    "thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as p:\n    print(sum(p.map(lambda x: x * x, range(10))))",
        "",
        "285",
    ),
    "temporary file": ("with open('/tmp/x', 'w') as o: o.write('5')\nprint(open('/tmp/x').read())", "", "5"),
    "preamble names": ("d = defaultdict(int)\nheappush(h := [], 3)\nx: List[int] = [gcd(4, 6)]\nprint(len(d), h, x, Counter('aab')['a'])", "", "0 [3] [2] 2"),
    "own name like a preamble name": ("def index(x): return x\nmode = 3\ngcd = lambda a, b: 7\nprint(index(2), mode, gcd(1, 2))", "", "2 3 7"),
    "pickle of a class": (
        "import pickle\nclass A: pass\na = A(); a.x = 4\nprint(pickle.loads(pickle.dumps(a)).x)",
        "",
        "4",
    ),
    "unicode": ("print(input()[::-1])", "añ日本\n", "本日ña"),
    "carriage returns": ("print(input())", "a\r\n", "a"),
    "decimal comparison": ("print('1.50', 2, '3e2')", "", "1.5 2.0 300"),
    "trailing spaces": ("print('1 2 ')\nprint()", "", "1 2"),
    "standard error": ("import sys\nprint('debug', file=sys.stderr)\nprint(1)", "", "1"),
    "python -O independence": ("print(__debug__)", "", "True"),
}  # fmt: skip

CALLS = {
    "plain": ("def f(a, b): return a + b\n", [1, 2], 3),
    "class Solution": ("class Solution:\n    def f(self, nums: List[int]) -> int:\n        return sum(nums)\n", [[1, 2]], 3),
    "tuple for a list": ("def f(): return (1, (2, 3))\n", [], [1, [2, 3]]),
    "list for a tuple": ("def f(): return [1, 2]\n", [], (1, 2)),
    "dictionary": ("def f(): return {'a': [1], 'b': {}}\n", [], {"b": {}, "a": [1]}),
    "counter": ("from collections import Counter\ndef f(s): return Counter(s)\n", ["aab"], {"a": 2, "b": 1}),
    "default dictionary": ("from collections import defaultdict\ndef f():\n    d = defaultdict(list)\n    d['a'].append(1)\n    return d\n", [], {"a": [1]}),
    "named tuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)\n", [], (1, 2)),
    "set": ("def f(): return {3, 1, 2}\n", [], {1, 2, 3}),
    "set of tuples": ("def f(): return {(1, 'a'), (2, 'b')}\n", [], {(2, "b"), (1, "a")}),
    "frozenset": ("def f(): return frozenset([1])\n", [], frozenset([1])),
    "float noise": ("def f(): return 0.1 + 0.2\n", [], 0.3),
    "float for an integer": ("def f(): return 4.0\n", [], 4),
    "integer for a float": ("def f(): return 4\n", [], 4.0),
    "nan": ("def f(): return float('nan')\n", [], float("nan")),
    "negative infinity": ("def f(): return -float('inf')\n", [], -float("inf")),
    "big integer": ("def f(): return 3 ** 5000\n", [], 3**5000),
    "negative big integer": ("def f(): return -(3 ** 500)\n", [], -(3**500)),
    "complex": ("def f(): return 1j * 1j\n", [], -1),
    "bytes": ("def f(b): return b[::-1]\n", [b"abc"], b"cba"),
    "none": ("def f(): pass\n", [], None),
    "bool": ("def f(x): return x > 1\n", [2], True),
    "enumeration": ("import enum\nclass E(enum.IntEnum):\n    A = 2\ndef f(): return E.A\n", [], 2),
    "text": ("def f(): return 'a\"\\\\\\n\\u2028日'\n", [], 'a"\\\n\u2028日'),
    "lone surrogate": ("def f(): return '\\ud800'\n", [], "\ud800"),
    "argument is changed": ("def f(x):\n    x.append(1)\n    return x\n", [[0]], [0, 1]),
    "prints as well": ("def f():\n    print('debug')\n    return 1\n", [], 1),
    "generator inside": ("def g():\n    yield from range(3)\ndef f(): return list(g())\n", [], [0, 1, 2]),
    "method by dotted name": ("class A:\n    def m(self, x): return x + 1\n", [1], 2),
    "future annotations": ("from __future__ import annotations\ndef f(x: Unknown) -> Other: return x\n", [1], 1),
    "dataclass": ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 3\ndef f(): return P().x\n", [], 3),
    "large value": ("def f(): return list(range(200000))\n", [], list(range(200000))),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_honest_scripts_pass(name: str) -> None:
    program, given, expected = SCRIPTS[name]
    assert code.grade(program, [{"input": given, "output": expected}]).reason == "correct"


@pytest.mark.parametrize("name", CALLS)
def test_honest_functions_pass(name: str) -> None:
    program, arguments, expected = CALLS[name]
    call = "A.m" if name == "method by dotted name" else "f"
    assert code.grade(program, [{"call": call, "args": arguments, "output": expected}]).reason == "correct"


def test_every_script_test_starts_afresh() -> None:
    program = "import builtins\nseen = getattr(builtins, 'seen', 0)\nbuiltins.seen = 1\nprint(seen, input())\n"
    tests = [{"input": f"{i}\n", "output": f"0 {i}"} for i in range(3)]
    assert code.grade(program, tests).reward == 1.0


def test_one_wrong_test_of_many_takes_the_reward() -> None:
    tests = [{"input": f"{i}\n", "output": f"{i + (i == 2)}"} for i in range(3)]
    assert code.grade("print(input())", tests).reason == "wrong"


@pytest.mark.parametrize(
    ("program", "test", "said"),
    [
        ("print(int(input()) + 1)", {"input": "2\n", "output": "4"}, ["Input:\n2\n", "output:\n4\n", "Its output:\n3"]),
        ("pass", {"input": "2\n", "output": "4"}, ["It prints nothing."]),
        ("print(input() * 9000)", {"input": "ab", "output": "4"}, ["abab [...]"]),
        ("print(1 / 0)", {"input": "", "output": "4"}, ["It ends with an error."]),
        ("def f(x): return 5", {"call": "f", "args": [[1]], "output": 4}, ["f([1]) should be 4.", "another value"]),
        ("def f(x): return x.y", {"call": "f", "args": ["a"], "output": 4}, ["f('a') should be 4.", "with an error"]),
    ],
)
def test_a_failed_visible_test_is_quoted_and_no_hidden_one(program: str, test: dict, said: list[str]) -> None:
    verdict = code.grade(program, cases.visible([test]))
    assert verdict.reason == "wrong" and all(text in verdict.detail for text in said)
    assert code.grade(program, cases.hidden([test])).detail == code.grade(program, [test]).detail == ""
    assert code.grade("print(4)\ndef f(x): return 4", cases.visible([test])).detail == ""


def test_order_rules() -> None:
    unordered = [{"call": "f", "args": [], "output": [1, 2, 2], "rule": "unordered"}]
    assert code.grade("def f(): return [2, 1, 2]\n", unordered).reward == 1.0
    assert code.grade("def f(): return [2, 1, 1]\n", unordered).reward == 0.0
    root = [{"call": "f", "args": [[-4.0, 0.0, 1.0]], "output": 2.0, "rule": "root"}]
    assert code.grade("def f(c): return -2.0\n", root).reward == 1.0
    assert code.grade("def f(c): return 1.9\n", root).reward == 0.0
