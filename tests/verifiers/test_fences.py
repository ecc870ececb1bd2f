"""Which block of a response is graded, however it is fenced; and reading any response takes linear time."""

# ruff: noqa: E501 - tables of responses read best unwrapped

import pytest

from hsd_jax.verifiers import code
from hsd_jax.verifiers.fences import program_of

F = "def f(x):\n    return x + 1\n"
READS = "n = int(input())\nprint(n + 1)\n"
CALLS = [{"call": "f", "args": [1], "output": 2}]
RUNS = [{"input": "1\n", "output": "2"}]


def block(text: str, label: str = "python", fence: str = "```") -> str:
    return f"{fence}{label}\n{text}{fence}\n"


AFTER = {  # what may follow a solution without taking its place
    "demo": block("print(f(3))\n"),
    "asserts": block("assert f(1) == 2\n"),
    "sample output": block("2\n", ""),
    "labelled output": block("2\n", "text"),
    "complexity": block("O(n) time and O(1) space.\n", ""),
    "complexity labelled": block("O(n)\n"),
    "prose": block("f adds one to x.\nIf x is 1, then f(x) = 2.\n", ""),
    "prose that says def": block("We define f(x) as x + 1:\n  def f of x is x + 1\n", ""),
    "another language": block("int f(int x) { return x + 1; }\n", "cpp"),
    "shell": block("python solution.py < input.txt\n", "bash"),
    "test class": block(
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(1), 2)\n"
    ),
    "main guard": block("if __name__ == '__main__':\n    print(f(1))\n"),
    "empty block": block(""),
    "cut off": "```python\nprint(",
    "inline code": "Here ```f``` is `f`.\n",
}
FENCED = {  # the same program within
    "plain": block(F),
    "upper case": block(F, "Python"),
    "version": block(F, "python3.11"),
    "no label": block(F, ""),
    "attributes": block(F, 'python title="a.py"'),
    "tildes": block(F, fence="~~~"),
    "four": block(F, fence="````"),
    "space before the label": block(F, " python"),
    "spaces at the end": block(F, "python  ").replace("```\n", "```  \n"),
    "not closed": block(F)[:-4],
    "glued to words": f"The solution:```python\n{F}```",
    "glued end": f"```python\n{F.rstrip()}```",
    "glued to the label": f"```python {F}```",
    "words behind the end": block(F).rstrip() + " That is all.\n" + block("print(1)\n"),
    "two glued": f"```python\nimport os\n``````python\n{F}```",
    "indented": "1. So:\n   ```python\n" + "".join(f"   {line}\n" for line in F.splitlines()) + "   ```\n",
    "tab": "\t```python\n" + "".join(f"\t{line}\n" for line in F.splitlines()) + "\t```\n",
    "bullet": "- ```python\n" + "".join(f"  {line}\n" for line in F.splitlines()) + "  ```\n",
    "carriage returns": block(F).replace("\n", "\r\n"),
    "old carriage returns": block(F).replace("\n", "\r"),
    "mark before": "\ufeff" + block(F),
    "mark inside": block("\ufeff" + F),
    "fence in a docstring": block('def f(x):\n    """Adds.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + 1\n'),
    "fence at the margin of a string": block("s = '''\n```\n'''\n" + F),
    "python fence in a string": block("s = '''\n```python\nx\n```\n'''\n" + F),
    "fence in a comment": block("# ``` is a fence\n" + F),
    "fence in a short string": block("s = '```'\n" + F),
    "quote in a comment": block("# it's '''\n" + F),
    "end of thinking in a string": block("s = '</think>'\n" + F),
    "end of thinking within a string": block('s = """a </think> b"""\n' + F),
    "end of thinking in words": block(F) + "The tag `</think>` is not used.\n",
    "after thinking": "<think>\n" + block("def f(x): return 0\n") + "</think>\n" + block(F),
    "after thinking that the prompt began": "so ```python\ndef f(x): 'it\n</think>\n" + block(F),
    "after text that is thought": "'''</think>" + block(F),
    "helper before": block("def g(x):\n    return x\n") + block("def f(x):\n    return g(x) + 1\n"),
    "helper after": block("def f(x):\n    return g(x) + 1\n") + block("def g(x):\n    return x\n"),
    "helper of a helper": block("ONE = 1\n") + block("def g(x): return x + ONE\n") + block("def f(x): return g(x)\n"),
    "import before": block("from math import gcd as g\n") + block("def f(x): return x + g(1, 1)\n"),
    "improved": block("def f(x): return 0\n") + "Better:\n" + block(F),
    "method": block("class Solution:\n    def f(self, x):\n        return x + 1\n"),
    "name bound to a function": block("f = lambda x: x + 1\n") + block("print(f(1))\n"),
}


@pytest.mark.parametrize("name", AFTER)
def test_what_follows_a_solution_is_not_graded(name: str) -> None:
    assert program_of(block(F) + AFTER[name], ["f"]) == F
    assert program_of(block(READS) + AFTER[name], []) == READS
    if name != "cut off":
        assert program_of(block(F, "") + AFTER[name], ["f"]) == F
        assert program_of(AFTER[name] + block(F), ["f"]) == F


@pytest.mark.parametrize("name", FENCED)
def test_a_solution_is_found_however_it_is_fenced(name: str) -> None:
    program = program_of(FENCED[name], ["f"])
    assert program is not None
    scope: dict = {}
    exec(compile(program, name, "exec"), scope)
    f = scope.get("f") or scope["Solution"]().f
    assert f(1) == 2


@pytest.mark.parametrize(
    "response",
    ["", "no block", block("The answer is 5.\n", ""), block("3 5\n", ""), block("x += 1;\n", "js"), block(" \n"),
     "<think>\n" + block(F), block(F) + "</think>", "\ufeff<think>" + block(F), "`f`", "```", "~~~\n", block("f: adds\n", "")],
)  # fmt: skip
def test_prose_and_thoughts_are_no_program(response: str) -> None:
    assert program_of(response, ["f"]) is None and program_of(response, []) is None


def test_a_script_stands_behind_what_it_uses_and_alone_otherwise() -> None:
    helper, use = "def g(x):\n    return x + 1\n", "print(g(int(input())))\n"
    assert program_of(block(helper) + block(use), []) == f"{helper}\n{use}"
    assert program_of(block(use) + block(helper), []) == f"{helper}\n{use}"
    reader = "import sys\ndef read():\n    return int(sys.stdin.readline())\n"
    assert program_of(block(reader) + block("print(read() + 1)\n"), []) == f"{reader}\nprint(read() + 1)\n"
    # a local name is no use of another block's function, and an earlier attempt is no helper
    assert program_of(block("def n(): pass\nprint(n())\n") + block(READS), []) == READS
    assert program_of(block("import sys\nprint(sys.stdin.read())\n") + block(READS), []) == READS


@pytest.mark.sandbox
def test_responses_are_graded_by_the_block_their_tests_need() -> None:
    response = block(F) + block("print(f(3))\nassert f(3) == 4\n") + block("4\n", "")
    assert code.grade_response(response, CALLS).reason == "correct"
    assert code.grade_response(block(READS) + block("assert True\n") + block("2\n", ""), RUNS).reason == "correct"
    assert code.grade_response("x" * 600_000, CALLS).reason == "unparsed"


LONG = {
    "spaces": lambda n: "```" + " " * n, "letters": lambda n: "```" + "a" * n, "tildes": lambda n: "~" * n,
    "ticks": lambda n: "a" + "`" * n, "fences in a line": lambda n: "a ``` " * n, "quotes": lambda n: "```py\n" + "'" * n,
    "strings that never end": lambda n: "```py\n\\'''\n```\n" * n, "both": lambda n: "```py\n'''\n```\n\"\"\"\n" * n,
    "blocks": lambda n: "```py\ndef f(): return g()\n```\n" * n, "backslashes": lambda n: "```py\n" + "\\" * n,
    "escaped quotes": lambda n: "```py\n" + "'\\" * n, "triple": lambda n: "```py\n" + '"""\\' * n,
    "blanks inside": lambda n: "```py\n" + " " * n + "x", "assignment": lambda n: "```py\nx = " + " " * n + "y",
    "lines": lambda n: "```py\n" + "\n" * n, "imports": lambda n: "```py\nimport " + "a, " * n, "from": lambda n: "```py\n" + "from " * n,
    "calls": lambda n: "```\n" + "a(" * n, "dots": lambda n: "```\n" + "x." * n, "bullets": lambda n: "- " * n, "digits": lambda n: "1" * n,
    "thoughts": lambda n: "</think>" * n, "four ticks": lambda n: "````py\n```\n" * n, "names": lambda n: "```py\n" + "def g(): x\n" * n,
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_reading_is_linear(name: str) -> None:
    # a quadratic expression would take minutes here, an exponential one for ever
    for wanted in (["f"], []):
        program_of(LONG[name](20_000), wanted)
