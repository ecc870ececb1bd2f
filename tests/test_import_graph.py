"""The order of folders: who may import whom, how deep the imports go, and how large folders and functions may be.

The list of offenders below must shrink: a new offender fails the test, and so does an entry that no longer offends.
"""

import ast
import sys
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOUNDATIONS = ("hsd_jax.types", "hsd_jax.errors", "hsd_jax.config")
MATHEMATICS = tuple(f"hsd_jax.{name}" for name in "reading divergence losses advantages shares targets methods".split())
COMMANDS = tuple(f"hsd_jax.{name}" for name in "train evaluate prepare plan report export".split())

# From the lowest floor to the highest. A file imports from lower floors and from its own folder, nothing else.
FLOORS = (
    ("models",),
    FOUNDATIONS,
    (*MATHEMATICS, "hsd_jax.runtime", "hsd_jax.verifiers"),
    ("hsd_jax.data", "hsd_jax.sampler", "hsd_jax.scoring"),
    ("hsd_jax.update",),
    ("hsd_jax.setup",),
    ("hsd_jax.rollout",),
    ("hsd_jax.evaluation", "hsd_jax.monitoring", "hsd_jax.reporting"),
    ("hsd_jax.run", "hsd_jax.planning"),
    COMMANDS,
)
GROUPS = (FOUNDATIONS, MATHEMATICS, COMMANDS)  # files of the root that count as one folder

LONGEST_CHAIN = 10  # files of hsd_jax that import each other in a row
MANY_ARGUMENTS = {  # more than 6: three at the most, with 7
    "hsd_jax.sampler.decode.decode 7",
    "hsd_jax.sampler.decode.decode_step 7",
    "models.qwen3.forward 7",
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of hsd_jax and models, parsed."""
    paths = [path for package in ("hsd_jax", "models") for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): _parse(p) for p in paths}


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def imports() -> dict[str, set[str]]:
    """The modules of the project that each module imports, at its head or inside a function."""
    return {name: {target for target in _targets(tree) if target != name} for name, tree in modules().items()}


def _targets(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"a relative import in line {node.lineno}"
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {path if path in modules() else node.module for path in full.values()}
    return {name for name in found if name.split(".")[0] in ("hsd_jax", "models", "examples", "tests", "tools")}


def floor(module: str) -> tuple[int, str]:
    """Number of a module's floor, and its folder there."""
    for number, folders in enumerate(FLOORS):
        for folder in folders:
            if module == folder or module.startswith(f"{folder}."):
                return number, next((group[0] for group in GROUPS if folder in group), folder)
    raise AssertionError(f"{module} is on no floor: name its folder in FLOORS")


def test_files_import_lower_floors_or_their_own_folder() -> None:
    wrong = set()
    for source, targets in imports().items():
        for target in targets if source != "hsd_jax" else ():
            (high, folder), (low, other) = floor(source), floor(target)
            if low >= high and folder != other:
                wrong.add((source, target))
    assert wrong == set()


def test_models_import_nothing_of_hsd_jax() -> None:
    for name in (name for name in modules() if name.split(".")[0] == "models"):
        assert all(target.startswith("models.") for target in imports()[name]), name


def test_imports_have_no_cycle_and_few_floors() -> None:
    chains: dict[str, list[str]] = {}
    for name in TopologicalSorter(imports()).static_order():  # raises CycleError with the cycle
        below = max((chains[target] for target in imports()[name]), key=len, default=[])
        chains[name] = [name, *below] if name.startswith("hsd_jax") else below
    longest = max(chains.values(), key=len)
    assert len(longest) == LONGEST_CHAIN, " -> ".join(longest)


def test_folders_are_small() -> None:
    assert len(FLOORS) <= 10
    files = Counter(path.parent for package in ("hsd_jax", "models") for path in (ROOT / package).rglob("*.py"))
    files.subtract(path.parent for package in ("hsd_jax", "models") for path in (ROOT / package).rglob("__init__.py"))
    assert {str(folder.relative_to(ROOT)): count for folder, count in files.items() if count > 15} == {}


def test_functions_are_short_and_take_few_arguments() -> None:
    long, many = set(), set()
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                a, lines = node.args, (node.end_lineno or 0) - node.lineno + 1
                count = len([*a.posonlyargs, *a.args, *a.kwonlyargs]) + bool(a.vararg) + bool(a.kwarg)
                long |= {f"{module}.{node.name}"} if lines > 45 else set()
                many |= {f"{module}.{node.name} {count}"} if count > 6 else set()
    assert long == set()
    assert many == MANY_ARGUMENTS


def installed_with(requirements: Path) -> set[str]:
    """The distributions that a requirements file brings, with all that they need, extras included."""
    found: set[tuple[str, str]] = set()

    def need(wanted: Requirement) -> None:
        for extra in ("", *wanted.extras):
            key = canonicalize_name(wanted.name), extra
            if key not in found:
                found.add(key)
                for inner in map(Requirement, metadata.requires(wanted.name) or ()):
                    if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                        need(inner)

    for line in requirements.read_text().splitlines():
        if line.strip() and line[0] not in "#-":
            need(Requirement(line))
    return {name for name, _ in found}


def test_what_is_imported_at_the_start_comes_with_the_short_requirements() -> None:
    """Tests have more packages than a newcomer; what only some runs need is imported where they need it."""
    there, of_module = installed_with(ROOT / "requirements.txt"), metadata.packages_distributions()
    missing = set()
    for module, tree in modules().items():
        for node in tree.body if module.startswith(("hsd_jax", "models")) else ():
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.split(".")[0] for name in named} - sys.stdlib_module_names - {"hsd_jax", "models"}:
                if not {canonicalize_name(name) for name in of_module.get(top, [])} & there:
                    missing.add((module, top))
    assert missing == set()
