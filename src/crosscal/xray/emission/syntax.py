"""The grammar of model expressions such as ``TBabs*(apec + powerlaw)``; parsed, never evaluated.

    sum     := product ("+" product)*
    product := factor ("*" factor)*
    factor  := number | name | name "(" sum ")" | "(" sum ")"

``phabs(apec)`` means ``phabs*apec``, as in XSPEC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from crosscal.core.errors import InputError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z_])"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>[()+*]))"
)
_MAX_LENGTH = 2000
_MAX_DEPTH = 50


@dataclass(frozen=True)
class Leaf:
    """A component name; ``position`` counts characters from 1."""

    name: str
    position: int


@dataclass(frozen=True)
class Number:
    """A constant factor."""

    value: float
    position: int


@dataclass(frozen=True)
class Sum:
    """Terms that are added."""

    terms: tuple[Node, ...]
    position: int


@dataclass(frozen=True)
class Product:
    """Factors that are multiplied; a convolution acts on all that follow it."""

    factors: tuple[Node, ...]
    position: int


Node = Leaf | Number | Sum | Product


def parse(expression: str) -> Node:
    """Parse a model expression into a tree.

    Raises
    ------
    InputError
        With the position of the first character that does not fit.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise InputError("empty model expression", expected="for example 'TBabs*apec'")
    if len(expression) > _MAX_LENGTH:
        raise InputError(f"model expression of {len(expression)} characters", expected=f"at most {_MAX_LENGTH}")
    parser = _Parser(expression)
    tree = parser.sum(0)
    if parser.kind != "end":
        parser.fail("'+', '*' or the end")
    return tree


def leaves(node: Node) -> tuple[Leaf, ...]:
    """Return the component names of a tree from left to right."""
    match node:
        case Leaf():
            return (node,)
        case Sum(terms=parts) | Product(factors=parts):
            return tuple(leaf for part in parts for leaf in leaves(part))
    return ()


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str) -> None:
        self.text, self.next = text, 0
        self.advance()

    def advance(self) -> None:
        rest = self.text[self.next :]
        stripped = rest.lstrip()
        self.position = self.next + len(rest) - len(stripped) + 1
        if not stripped:
            self.kind, self.value = "end", ""
            return
        found = _TOKEN.match(self.text, self.next)
        if found is None:
            self.kind, self.value = "bad", stripped[0]
            return
        self.kind, self.value = str(found.lastgroup), str(found.group(str(found.lastgroup)))
        self.next = found.end()

    def fail(self, expected: str) -> NoReturn:
        what = "the expression ends early" if self.kind == "end" else f"{self.value!r} does not fit"
        raise InputError(what, where=f"model {self.text!r}, position {self.position}", expected=expected)

    def sum(self, depth: int) -> Node:
        start = self.position
        if depth > _MAX_DEPTH:
            self.fail(f"at most {_MAX_DEPTH} nested parentheses")
        terms = [self.product(depth)]
        while self.kind == "mark" and self.value == "+":
            self.advance()
            terms.append(self.product(depth))
        return terms[0] if len(terms) == 1 else Sum(tuple(terms), start)

    def product(self, depth: int) -> Node:
        start = self.position
        factors = [*self.factor(depth)]
        while self.kind == "mark" and self.value == "*":
            self.advance()
            factors += self.factor(depth)
        return factors[0] if len(factors) == 1 else Product(tuple(factors), start)

    def factor(self, depth: int) -> list[Node]:
        if self.kind == "number":
            number = Number(float(self.value), self.position)
            self.advance()
            return [number]
        if self.kind == "name":
            leaf = Leaf(self.value, self.position)
            self.advance()
            return [leaf, self.group(depth)] if self.value == "(" and self.kind == "mark" else [leaf]
        if self.kind == "mark" and self.value == "(":
            return [self.group(depth)]
        self.fail("a model name, a number or '('")

    def group(self, depth: int) -> Node:
        self.advance()
        inner = self.sum(depth + 1)
        if not (self.kind == "mark" and self.value == ")"):
            self.fail("')'")
        self.advance()
        return inner
