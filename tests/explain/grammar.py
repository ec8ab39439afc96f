"""What a pattern may be, and how many steps it can take.

Python's `re` and JavaScript both backtrack, so a pattern is kept to a small common language: plain text,
classes, `.`, `\\d`, `\\w`, `\\b`, groups with alternatives, lookahead; a quantifier has an end and stands
behind one character. Steps are counted by a matcher that backtracks as both do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

MOST_REPEATS = 260

_TOKEN = re.compile(
    r"\\(?P<escape>.)|(?P<set>\[\^?(?:\\.|[^\]\\])+\])|(?P<open>\((?:\?:|\?!|\?P<\w+>))|(?P<close>\))|(?P<bar>\|)"
    r"|(?P<other>[^\\\[\](){}?*+|^$])",
    re.DOTALL,
)
_QUANTIFIER = re.compile(r"\?|\{(\d+)(?:,(\d+))?\}")

ALPHABET = [chr(code) for code in range(32, 127)]


@cache
def letters(source: str) -> frozenset[str]:
    """The letters that one character of a pattern stands for."""
    one = re.compile(source, re.ASCII)
    found = frozenset(character for character in ALPHABET if one.fullmatch(character))
    return found or frozenset(source)  # a Chinese character stands for itself


@dataclass(frozen=True)
class One:
    """A character of a set, some times."""

    source: str
    least: int
    most: int

    def takes(self, character: str) -> bool:
        return character in letters(self.source)

    @property
    def letters(self) -> frozenset[str]:
        return letters(self.source)


@dataclass(frozen=True)
class Border:
    """A place: `\\b`, or what must not follow."""

    source: str


@dataclass(frozen=True)
class Choice:
    """Alternatives; optional ones may be left out."""

    branches: tuple[tuple[Node, ...], ...]
    optional: bool


Node = One | Border | Choice


class Refused(ValueError):
    """Raised for a pattern that is not of the language."""


def parse(expression: str) -> tuple[Node, ...]:
    branches, end = _branches(expression, 0)
    if end != len(expression):
        raise Refused(f"{expression!r} at {end}")
    return branches[0] if len(branches) == 1 else (Choice(branches, optional=False),)


def _branches(text: str, place: int) -> tuple[tuple[tuple[Node, ...], ...], int]:
    done: list[tuple[Node, ...]] = []
    now: list[Node] = []
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise Refused(f"{text!r} at {place}")
        if token["close"]:
            break
        place = token.end()
        if token["bar"]:
            done, now = [*done, tuple(now)], []
            continue
        node, place = _node(text, token, place)
        now.append(node)
    return (*done, tuple(now)), place


def _node(text: str, token: re.Match[str], place: int) -> tuple[Node, int]:
    if token["open"]:
        branches, place = _branches(text, place)
        if text[place : place + 1] != ")":
            raise Refused(f"{text!r}: a group is open")
        place += 1
        if token["open"] == "(?!":
            return Border(text[token.start() : place]), place
        optional = text[place : place + 1] == "?"
        return Choice(branches, optional), place + optional
    if token["escape"] == "b":
        return Border(r"\b"), place
    if token["escape"] and token["escape"].isalnum() and token["escape"] not in "dw":
        raise Refused(f"{text!r}: \\{token['escape']}")
    least, most = 1, 1
    if quantifier := _QUANTIFIER.match(text, place):
        place = quantifier.end()
        least = int(quantifier[1] or 0)
        most = int(quantifier[2] or quantifier[1] or 1)
    if most > MOST_REPEATS or text[place : place + 1] in set("?*+{"):
        raise Refused(f"{text!r}: repeated without an end, lazily or twice")
    return One(token[0], least, most), place


def first(nodes: tuple[Node, ...]) -> frozenset[str]:
    """The letters that ``nodes`` can begin with; all of them if it can be empty."""
    found: frozenset[str] = frozenset()
    for node in nodes:
        if isinstance(node, One):
            found |= node.letters
            if node.least:
                return found
        elif isinstance(node, Choice):
            found |= frozenset().union(*(first(branch) for branch in node.branches))
            if not node.optional:
                return found
    return frozenset(ALPHABET)


def gaps(nodes: tuple[Node, ...]) -> int:
    """How many parts have a length that the next letter does not end."""
    count = 0
    for number, node in enumerate(nodes):
        if isinstance(node, One) and node.most - node.least > 1:
            after = nodes[number + 1 :]
            count += bool(
                after and any(not isinstance(n, Border) for n in after) and first(after) & node.letters
            )
        elif isinstance(node, Choice):
            count += max(gaps(branch) for branch in node.branches)
    return count


def steps(nodes: tuple[Node, ...], text: str) -> int:
    """How many characters a backtracking matcher looks at before it gives up or succeeds."""
    looked = 0

    def run(rest: tuple[Node, ...], place: int) -> bool:
        nonlocal looked
        if not rest:
            return True
        head, after = rest[0], rest[1:]
        looked += 1
        if isinstance(head, Border):
            return re.compile(head.source, re.ASCII).match(text, place) is not None and run(after, place)
        if isinstance(head, Choice):
            ways = [*(branch + after for branch in head.branches), *([after] if head.optional else [])]
            return any(run(way, place) for way in ways)
        end = place
        while end < len(text) and end - place < head.most and head.takes(text[end]):
            end += 1
            looked += 1
        return any(run(after, at) for at in range(end, place + head.least - 1, -1))

    run(nodes, 0)
    return looked


def attacks(nodes: tuple[Node, ...], length: int) -> Iterator[str]:
    """Texts that begin well and then keep each repeated part busy without an end."""
    for target in range(len(nodes)):
        for choose in (min, max):
            yield _attack(nodes, target, length, choose)


def _attack(
    nodes: tuple[Node, ...], target: int, length: int, choose: Callable[[frozenset[str]], str]
) -> str:
    text = ""
    for number, node in enumerate(nodes):
        if number == target:
            break
        text += _example(node)
    rest = nodes[target:]
    node = rest[0]
    if isinstance(node, One):
        both = node.letters & first(rest[1:])
        text += choose(both or node.letters) * node.most
    return (text + text[-40:] * length)[:length]


def _example(node: Node) -> str:
    if isinstance(node, One):
        return min(node.letters) * max(node.least, 1)
    if isinstance(node, Choice):
        return "".join(_example(one) for one in max(node.branches, key=len))
    return ""
