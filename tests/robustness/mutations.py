"""Seeded damage of files: of their bytes, of their text, and of what their format holds."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.broken import is_broken_content

from . import structured

Rng = np.random.Generator

#: What stands where a number, name or word is expected.
WORDS = (
    "nan", "inf", "-inf", "-1", "0", "-0.0", "1e308", "1e999", "-1e-300", "99999999999999999999", "", "x", "1,5", "1 2",
    "0x10", "1_000", "None", "true",
    "\u00e9", "\u0663", "\u22121", "'", '"', "#", ",", "\t", ";", "--", "1e", ">3", "\\",
    "keV", "\u00b5m", "a" * 300, "../../x", "/", "2024-01-01", "[1, 2]", "{}", "\u0000", "\u2028", "%", "!", "&", "*a",
)  # fmt: skip
_NUMBER = re.compile(rb"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")


def mutate(directory: Path, contents: dict[Path, bytes], rng: Rng) -> str:
    """Damage one file of a directory (sometimes two); return what was done."""
    labels = []
    for _ in range(1 + (rng.random() < 0.15)):
        name = list(contents)[int(rng.integers(len(contents)))]
        path = directory / name
        if rng.random() < 0.04 or not path.is_file():
            labels.append(f"{name}: {_filesystem(path, directory, contents, rng)}")
            continue
        content = path.read_bytes()
        damaged, label = damage(content, rng)
        path.write_bytes(damaged)
        labels.append(f"{name}: {label}")
    return "; ".join(labels)


def _filesystem(path: Path, directory: Path, contents: dict[Path, bytes], rng: Rng) -> str:
    choice = int(rng.integers(5))
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if choice == 0:
        return "removed"
    if choice == 1:
        path.mkdir()
        return "a directory in its place"
    if choice == 2:
        path.symlink_to(path.name)
        return "a link to itself"
    if choice == 3:
        os.mkfifo(path)
        return "a pipe in its place, into which nobody writes"
    other = list(contents)[int(rng.integers(len(contents)))]
    path.write_bytes(contents[other])
    return f"content of {other}"


def damage(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Damage content by its format or by its bytes."""
    ways: list[tuple[str, Callable[[bytes, Rng], bytes]]] = [("bytes", scramble)]
    if content.startswith(b"\x89HDF") and not content.endswith(b"\n"):
        # Without a checksum, scrambled bytes can keep the HDF5 library busy for ever: a process must be killed then.
        ways = [("end", lambda data, rng: data[: int(rng.integers(len(data)))])]
    if format_damage := structured.for_content(content):
        ways += [format_damage, format_damage]
    if _is_text(content):
        ways += [("text", scramble_text), ("fields", scramble_fields)]
        if content.lstrip()[:1] in (b"{", b"["):
            ways += [("json", scramble_json)] * 2
    name, way = ways[int(rng.integers(len(ways)))]
    try:
        return way(content, rng), name
    except Exception as error:
        if not is_broken_content(error):
            raise
        # The damage cannot be expressed in the format (or an earlier one broke it): its bytes then.
        return scramble(content, rng), f"bytes, as {name} was impossible ({type(error).__name__})"


def _is_text(content: bytes) -> bool:
    try:
        return "\x00" not in content[:4000].decode("utf-8")
    except UnicodeDecodeError:
        return False


def scramble(content: bytes, rng: Rng) -> bytes:
    """Flip, overwrite, cut, repeat, insert, truncate, append, empty."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            return bytes(rng.bytes(int(rng.integers(0, 50))))
        at, n = int(rng.integers(len(data))), int(rng.integers(1, 1 + max(1, len(data) // 4)))
        kind = int(rng.integers(9))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + min(n, 8)] = rng.bytes(min(n, 8))
        elif kind == 2:
            del data[at : at + n]
        elif kind == 3:
            data[at:at] = data[at : at + n]
        elif kind == 4:
            data[at:at] = rng.bytes(min(n, 64))
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            data += rng.bytes(min(n, 3000))
        elif kind == 7:
            data[at : at + n] = bytes(len(data[at : at + n]))
        elif rng.random() < 0.2:
            data = bytearray()
    return bytes(data)


def word(rng: Rng) -> str:
    """A word that is seldom expected."""
    return WORDS[int(rng.integers(len(WORDS)))]


def scramble_text(content: bytes, rng: Rng) -> bytes:
    """Damage lines, numbers, words and the encoding."""
    text = content.decode("utf-8")
    kind = int(rng.integers(11))
    lines = text.splitlines(keepends=True) or [""]
    at = int(rng.integers(len(lines)))
    if kind <= 3:
        numbers = list(_NUMBER.finditer(content))
        if numbers:
            found = numbers[int(rng.integers(len(numbers)))]
            return content[: found.start()] + word(rng).encode() + content[found.end() :]
    if kind == 4:
        del lines[at]
    elif kind == 5:
        lines.insert(int(rng.integers(len(lines))), lines[at])
    elif kind == 6:
        other = int(rng.integers(len(lines)))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 7:
        return text.encode(["utf-16", "utf-8-sig", "utf-32", "cp037"][int(rng.integers(4))], errors="replace")
    elif kind == 8:
        return text.replace("\n", ["\r", "\r\n", "\n\n", " ", "\x0c", "\u2028"][int(rng.integers(6))]).encode()
    elif kind == 9:
        words = re.findall(r"\w+", text) or [""]
        return text.replace(words[int(rng.integers(len(words)))], word(rng)).encode()
    else:
        lines[at] = "\u00e9" * int(rng.integers(1, 5)) + lines[at]
        return "".join(lines).encode("latin-1", errors="replace")
    return "".join(lines).encode()


def scramble_fields(content: bytes, rng: Rng) -> bytes:
    """Damage the columns of a table of text: replace, drop, repeat, swap, rename; or keep the header alone."""
    text = content.decode("utf-8")
    lines = text.splitlines() or [""]
    separator = "," if text.count(",") > len(lines) / 2 else None
    joined = separator or " "
    at = int(rng.integers(len(lines)))
    fields = lines[at].split(separator)
    if not fields:
        return scramble(content, rng)
    k = int(rng.integers(len(fields)))
    kind = int(rng.integers(7))
    if kind <= 1:
        fields[k] = word(rng)
    elif kind == 2:
        del fields[k]
    elif kind == 3:
        fields.insert(k, fields[int(rng.integers(len(fields)))])
    elif kind == 4:
        other = int(rng.integers(len(fields)))
        fields[k], fields[other] = fields[other], fields[k]
    elif kind == 5:
        value = word(rng)
        rows = [line.split(separator) for line in lines]
        lines = [
            joined.join([*r[:k], value, *r[k + 1 :]]) if len(r) > k and i else joined.join(r)
            for i, r in enumerate(rows)
        ]
        return "\n".join(lines).encode()
    else:
        return ("\n".join(lines[: at + 1]) + "\n").encode()
    lines[at] = joined.join(fields)
    return ("\n".join(lines) + "\n").encode()


def weird(rng: Rng) -> Any:
    """A value of any type."""
    values: list[Any] = [
        None, True, False, 0, -1, 1, 10**30, -(10**12), 1.5, float("nan"), float("inf"), -1e300, 1e-320, "", "x", "1",
        "\u00e9\n", [], [1, 2], [[1], [2, 3]], ["a"], {}, {"a": 1}, {"min": 2, "max": 1}, [None], "data:nothing", 10**9,
    ]  # fmt: skip
    return values[int(rng.integers(len(values)))]


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    found = [path] if path else []
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        found += places(value, (*path, key))
    return found


def change_nested(content: Any, rng: Rng) -> Any:
    """Replace, remove, rename or add one thing in nested mappings and lists (in place)."""
    every = places(content)
    if not every:
        return weird(rng)
    *parents, last = every[int(rng.integers(len(every)))]
    inside = content
    for key in parents:
        inside = inside[key]
    kind = int(rng.integers(6))
    if kind <= 2:
        inside[last] = weird(rng)
    elif kind == 3:
        del inside[last]
    elif kind == 4 and isinstance(inside, dict):
        inside[word(rng) or "y"] = inside.pop(last)
    elif isinstance(inside, dict):
        inside[word(rng) or "y"] = weird(rng)
    else:
        inside.append(weird(rng))
    return content


def scramble_json(content: bytes, rng: Rng) -> bytes:
    """Damage what a JSON file holds, not its form."""
    return json.dumps(change_nested(json.loads(content), rng)).encode()
