"""Downloads pinned revisions of public corpora and compares every file with its checksum.

Not yet run against the real servers: the machines this was written on reach no network. What is tested is everything
but the transfer. Revisions and checksums are those that public projects have recorded for the same files; where no
checksum was known, the one that the hub states for the pinned revision is compared and written to `pins.json`, and
later downloads must agree with it.
"""

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsd_jax.errors import InputError

PINS = "pins.json"
BLOCK = 1 << 20

# Opens an address for reading in blocks; the only thing here that touches a network.
Open = Callable[[str], "Transfer"]


@dataclass(frozen=True)
class Remote:
    """A pinned revision. `files` maps a path to its SHA-256, "" where it was not known; `prefix` makes the address."""

    prefix: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Transfer:
    """An open download: `read(size)`, and the checksum that the server itself states ("" where it states none)."""

    read: Callable[[int], bytes]
    stated: str
    close: Callable[[], None]


def hub(repo: str, revision: str, files: Mapping[str, str]) -> Remote:
    """Files of a dataset repository at a commit."""
    return Remote(f"https://huggingface.co/datasets/{repo}/resolve/{revision}/", files)


def shards(pattern: str, count: int) -> dict[str, str]:
    """The names of numbered parquet files."""
    return {pattern.format(index, count): "" for index in range(count)}


TOPICS = (
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
    *("number_theory", "prealgebra", "precalculus"),
)
REMOTES: dict[str, Remote] = {
    "gsm8k": Remote(
        "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
        "grade_school_math/data/",
        {
            "train.jsonl": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
            "test.jsonl": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        },
    ),
    "math": hub(
        "EleutherAI/hendrycks_math",
        "21a5633873b6a120296cce3e2df9d5550074f4a3",
        {f"{topic}/{split}-00000-of-00001.parquet": "" for topic in TOPICS for split in ("train", "test")},
    ),
    "numina": hub(
        "AI-MO/NuminaMath-1.5",
        "1b05109f9e5c1ad06c0663519502416c30b300f8",
        shards("data/train-{:05d}-of-{:05d}.parquet", 3),
    ),
    "apps": hub(
        "codeparrot/apps",
        "21e74ddf8de1a21436da12e3e653065c5213e9d1",
        {"train.jsonl": "45e82ef22ed8e7c0c04d881a21b923e9dd233157896b0b8d5b3493e887499cae", "test.jsonl": ""},
    ),
    "livecodebench": hub(
        "livecodebench/code_generation_lite",
        "0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
        {f"test{number}.jsonl": "" for number in ("", 2, 3, 4, 5, 6)},
    ),
    "math500": hub(
        "HuggingFaceH4/MATH-500",
        "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        {"test.jsonl": "35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132"},
    ),
    "aime24": hub(
        "HuggingFaceH4/aime_2024",
        "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        {"data/train-00000-of-00001.parquet": ""},
    ),
    "aime25": hub(
        "math-ai/aime25",
        "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        {"test.jsonl": "b4e273c02d3e7fe1b74b59eae768fc8230bfb0f79539890cb56f4361caac0331"},
    ),
    "humaneval": Remote(
        "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/",
        {"HumanEval.jsonl.gz": "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"},
    ),
    "humaneval_plus": Remote(
        "https://github.com/evalplus/humanevalplus_release/releases/download/v0.1.10/",
        {"HumanEvalPlus.jsonl.gz": "272720b90ac375502c8ed23cd791c2a93dfb22a911641a494da74a426c09f101"},
    ),
}
REMOTES["lcb"] = REMOTES["livecodebench"]


def fetch(source: str, directory: Path, *, open_address: Open | None = None) -> list[Path]:
    """Downloads what is missing of a source into `directory` and checks every file, old or new.

    Raises: InputError for a source without a pinned revision, an unreachable address or a wrong checksum (the file
    that came is not kept).
    """
    if source not in REMOTES:
        raise InputError(f"--source must be one of {', '.join(REMOTES)}; got {source!r}")
    remote = REMOTES[source]
    pins = _pins(directory)
    files = []
    for name, known in remote.files.items():
        file, pinned = directory / name, known or pins.get(name, "")
        if not file.is_file():
            _download(remote.prefix + name, file, pinned, open_address or open_url)
        found = checksum(file)
        _compare(file, found, pinned)
        pins[name] = found
        files.append(file)
    (directory / PINS).write_text(json.dumps(pins, indent=1), encoding="utf-8")
    return files


def _pins(directory: Path) -> dict[str, str]:
    file = directory / PINS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _download(address: str, file: Path, pinned: str, open_address: Open) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    try:
        transfer = open_address(address)
        try:
            with part.open("wb") as out:
                while block := transfer.read(BLOCK):
                    out.write(block)
        finally:
            transfer.close()
        _compare(part, checksum(part), pinned or transfer.stated)
        part.replace(file)
    except OSError as error:
        raise InputError(f"{address} cannot be downloaded ({error}); fetch it elsewhere and pass --path DIR") from error
    finally:
        part.unlink(missing_ok=True)


def _compare(file: Path, found: str, expected: str) -> None:
    if expected and found != expected:
        raise InputError(f"{file}: its SHA-256 is {found}, expected {expected}; delete it and download again")


def checksum(file: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def open_url(address: str) -> Transfer:
    """An HTTPS download. The hub states the SHA-256 of large files as the entity tag of the address before its
    redirection."""
    stated = ""
    if address.startswith("https://huggingface.co/"):
        opener = urllib.request.build_opener(_KeepAddress)
        request = urllib.request.Request(address, method="HEAD")
        try:
            with opener.open(request, timeout=60) as answer:
                headers = answer.headers
        except urllib.error.HTTPError as redirection:
            if redirection.code not in (301, 302, 307, 308):
                raise
            headers = redirection.headers
        tag = (headers.get("X-Linked-Etag") or "").strip('"')
        stated = tag if len(tag) == 64 else ""
    answer = urllib.request.urlopen(address, timeout=60)
    return Transfer(answer.read, stated, answer.close)


class _KeepAddress(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, so that the headers of the first answer can be read."""

    def redirect_request(self, *_: object) -> None:
        return None
