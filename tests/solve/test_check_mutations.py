"""Every edit of the real lock that changes what it says is refused by `check`.

Each edit is made on the text, by a seeded generator, and read back as any lock is. An edit is refused by
one of `check`'s own rules, by the recorded digest alone where no rule can judge it offline (a digit of a
hash, a size, a date), or by py-rattler, which does not read it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from d2lenv.base.errors import D2lEnvError
from d2lenv.solve import check
from d2lenv.solve.rules import Remark
from d2lenv.workspace import lockfile, manifest

ROOT = Path(__file__).parents[2]
HOST = "https://conda.anaconda.org/"
TEXT = (ROOT / manifest.LOCK).read_text(encoding="utf-8")
BLOCKS = re.findall(r"^- conda: \S+\n(?: .*\n)*", TEXT, re.MULTILINE)
URLS = [block.split("\n", 1)[0].removeprefix("- conda: ") for block in BLOCKS]

Edit = Callable[[random.Random], str]


def swap(old: str, new: str, text: str = TEXT) -> str:
    """``text`` with every whole-line occurrence of address ``old`` replaced."""
    changed, count = re.subn(rf"{re.escape(old)}$", lambda _: new, text, flags=re.MULTILINE)
    assert count > 1, old  # at least one environment and the record itself
    return changed


def in_block(rng: random.Random, pattern: str, change: Callable[[re.Match[str]], str]) -> str:
    """Change one match of ``pattern`` in one random record that has any."""
    block = rng.choice([block for block in BLOCKS if re.search(pattern, block, re.MULTILINE)])
    match = rng.choice(list(re.finditer(pattern, block, re.MULTILINE)))
    changed = block[: match.start()] + change(match) + block[match.end() :]
    assert changed != block
    return TEXT.replace(block, changed)


def other(rng: random.Random, old: str, alphabet: str) -> str:
    return rng.choice([char for char in alphabet if char != old])


def one_digit(rng: random.Random, text: str, alphabet: str) -> str:
    place = rng.choice([index for index, char in enumerate(text) if char in alphabet])
    return text[:place] + other(rng, text[place], alphabet) + text[place + 1 :]


def references() -> list[tuple[int, int, str, str, str]]:
    """(start, end, environment, platform, address) of every line that locks a record somewhere."""
    found: list[tuple[int, int, str, str, str]] = []
    environment = platform = ""
    position = 0
    for line in TEXT[: TEXT.index("\npackages:")].splitlines(keepends=True):
        if match := re.fullmatch(r"  (\w+):\n", line):
            environment = match[1]
        elif match := re.fullmatch(r"      ([\w-]+):\n", line):
            platform = match[1]
        elif line.startswith("      - conda: "):
            address = line.removeprefix("      - conda: ").strip()
            found.append((position, position + len(line), environment, platform, address))
        position += len(line)
    return found


REFERENCES = references()


def sha256_digit(rng: random.Random) -> str:
    return in_block(rng, r"(?<=  sha256: )[0-9a-f]{64}$", lambda m: one_digit(rng, m[0], "0123456789abcdef"))


def md5_digit(rng: random.Random) -> str:
    return in_block(rng, r"(?<=  md5: )[0-9a-f]{32}$", lambda m: one_digit(rng, m[0], "0123456789abcdef"))


def hash_dropped(rng: random.Random) -> str:
    return in_block(rng, r"  (sha256|md5): .*\n", lambda _: "")


def hash_added(rng: random.Random) -> str:
    digest = "".join(rng.choices("0123456789abcdef", k=64))
    url = next(url for url in URLS if "/d2l-1.0.3" in url)
    return TEXT.replace(f"- conda: {url}\n  depends", f"- conda: {url}\n  sha256: {digest}\n  depends")


def version(rng: random.Random) -> str:
    url = rng.choice(URLS)
    head, locked, tail = url.rsplit("-", 2)
    return swap(url, f"{head}-{one_digit(rng, locked, '0123456789')}-{tail}")


def build(rng: random.Random) -> str:
    url = rng.choice([url for url in URLS if re.search(r"\d_?\d*\.(conda|tar)", url)])
    head, tail = url.rsplit("-", 1)
    stem, dot, archive = tail.partition(".")
    return swap(url, f"{head}-{one_digit(rng, stem, '0123456789')}{dot}{archive}")


def build_of_another(rng: random.Random) -> str:
    """A record replaced in one place by a same-named one that the lock has elsewhere."""
    start, end, _, _, old = rng.choice(
        [row for row in REFERENCES if len(same_name(row[4])) > 1 and "/noarch/" not in row[4]]
    )
    new = rng.choice([url for url in same_name(old) if url != old])
    return TEXT[:start] + f"      - conda: {new}\n" + TEXT[end:]


def same_name(url: str) -> list[str]:
    return BY_NAME[url.rsplit("/", 1)[1].rsplit("-", 2)[0]]


BY_NAME: dict[str, list[str]] = {}
for _url in URLS:
    BY_NAME.setdefault(_url.rsplit("/", 1)[1].rsplit("-", 2)[0], []).append(_url)


def package_name(rng: random.Random) -> str:
    url = rng.choice(URLS)
    head, file = url.rsplit("/", 1)
    return swap(url, f"{head}/x{file}")


def host(rng: random.Random) -> str:
    url = rng.choice(URLS)
    wrong = rng.choice(["https://conda.anaconda.com/", "http://conda.anaconda.org/", "https://example.org/"])
    return swap(url, url.replace(HOST, wrong))


def channel(rng: random.Random) -> str:
    url = rng.choice(URLS)
    name = url.removeprefix(HOST).split("/")[0]
    wrong = rng.choice([n for n in ("conda-forge", "pytorch", "nvidia", "defaults") if n != name])
    return swap(url, url.replace(f"{HOST}{name}/", f"{HOST}{wrong}/"))


def channel_said(rng: random.Random) -> str:
    """The record says another channel than its address."""
    return in_block(
        rng, r"^- conda: \S+\n", lambda m: f"{m[0]}  channel: {HOST}{rng.choice(['main', 'r'])}/\n"
    )


def subdir(rng: random.Random) -> str:
    url = rng.choice(URLS)
    was = url.rsplit("/", 2)[1]
    wrong = rng.choice([s for s in ("linux-64", "osx-64", "win-64", "noarch", "linux-aarch64") if s != was])
    return swap(url, url.replace(f"/{was}/", f"/{wrong}/"))


def archive(rng: random.Random) -> str:
    url = rng.choice([url for url in URLS if url.endswith(".conda")])
    return swap(url, url.removesuffix(".conda") + ".tar.bz2")


def dropped_record(rng: random.Random) -> str:
    start, end, *_ = rng.choice(REFERENCES)
    return TEXT[:start] + TEXT[end:]


def added_record(rng: random.Random) -> str:
    start, _, environment, platform, _ = rng.choice(REFERENCES)
    have = {row[4] for row in REFERENCES if row[2:4] == (environment, platform)}
    new = rng.choice([url for url in URLS if url not in have])
    return f"{TEXT[:start]}      - conda: {new}\n{TEXT[start:]}"


def depends_changed(rng: random.Random) -> str:
    return in_block(
        rng, r"(?<=  - )[a-z][\w-]* [^\n]*\d[^\n]*(?=\n)", lambda m: one_digit(rng, m[0], "0123456789")
    )


def depends_dropped(rng: random.Random) -> str:
    return in_block(rng, r"^  - [a-z][\w-]*( [<>=][^\n]*)?\n", lambda _: "")


def depends_added(rng: random.Random) -> str:
    name = rng.choice(["no-such-package", "tensorflow >=2", "__cuda >=12", "python <3"])
    return in_block(rng, r"^  depends:\n", lambda m: f"{m[0]}  - {name}\n")


def constrains_changed(rng: random.Random) -> str:
    return in_block(
        rng,
        r"(?<=  constrains:\n  - )[^\n]*\d[^\n]*(?=\n)",
        lambda m: one_digit(rng, m[0], "0123456789"),
    )


def constrains_added(rng: random.Random) -> str:
    return in_block(rng, r"^  license: ", lambda m: f"  constrains:\n  - python <{rng.choice('12')}\n{m[0]}")


def size(rng: random.Random) -> str:
    return in_block(rng, r"(?<=^  size: )\d+", lambda m: str(int(m[0]) + rng.randint(1, 999)))


def timestamp(rng: random.Random) -> str:
    return in_block(rng, r"(?<=^  timestamp: )\d+", lambda m: str(int(m[0]) + rng.randint(1, 10**6)))


def licence(rng: random.Random) -> str:
    return in_block(rng, r"(?<=^  license: )[^\n]+", lambda _: "Proprietary")


def purl(rng: random.Random) -> str:
    return in_block(rng, r"(?<=^  - pkg:pypi/)[^\n]+", lambda m: f"{m[0]}x")


def build_number(rng: random.Random) -> str:
    return in_block(rng, r"(?<=^  build_number: )\d+", lambda m: str(int(m[0]) + 1))


def virtual_package(rng: random.Random) -> str:
    old, new = rng.choice(
        [
            ("__glibc=2.28", "__glibc=2.17"),
            ("__linux=4.18", "__linux=4.18=0"),
            ("__osx=13.0", "__osx=14.0"),
            ("__win=10.0", "__cuda=12"),
            ("__archspec=0=x86_64", "__archspec=1=x86_64"),
        ]
    )
    return TEXT.replace(f"  - {old}\n", f"  - {new}\n", 1)


def channel_list(rng: random.Random) -> str:
    lists = list(re.finditer(r"    channels:\n((?:    - url: .*\n)+)", TEXT))
    match = rng.choice(lists)
    rows = match[1].splitlines(keepends=True)
    how = rng.choice(["drop", "turn", "add"])
    if how == "drop" or (how == "turn" and len(rows) == 1):
        rows = rows[:-1]
    elif how == "turn":
        rows.reverse()
    else:
        rows.append("    - url: https://conda.anaconda.org/bioconda/\n")
    return TEXT[: match.start(1)] + "".join(rows) + TEXT[match.end(1) :]


def environment_dropped(rng: random.Random) -> str:
    name = rng.choice(["cpu", "cuda", "cuda12", "default", "dev"])
    return re.sub(rf"(?m)^  {name}:\n(?:    .*\n)+", "", TEXT)


def environment_added(rng: random.Random) -> str:
    name = rng.choice(["gpu", "test", "prod"])
    return TEXT.replace(
        "environments:\n", f"environments:\n  {name}:\n    channels: []\n    packages: {{}}\n", 1
    )


def platform_dropped(rng: random.Random) -> str:
    parts = list(re.finditer(r"      (?:linux|osx|win)-\w+:\n(?:      - .*\n)+", TEXT))
    match = rng.choice(parts)
    return TEXT[: match.start()] + TEXT[match.end() :]


def option(rng: random.Random) -> str:
    text = rng.choice(
        [
            "    options:\n      channel-priority: disabled\n",
            "    options: {strategy: lowest-version}\n",
            "    indexes:\n    - https://example.org/simple\n",
        ]
    )
    match = rng.choice(list(re.finditer(r"    channels:\n(?:    - url: .*\n)+", TEXT)))
    return TEXT[: match.end()] + text + TEXT[match.end() :]


def format_version(rng: random.Random) -> str:
    return TEXT.replace("version: 7\n", f"version: {rng.choice(['8', '99', 'x', '0'])}\n", 1)


def older_format(rng: random.Random) -> str:
    """`pixi lock --check` (0.77) solves it again; py-rattler reads it without a word."""
    return TEXT.replace("version: 7\n", "version: 6\n", 1)


KINDS: dict[Edit, tuple[int, str]] = {
    # edit: (how often, who must refuse it: "rule", "digest" where no rule can judge, "" either, "read")
    sha256_digit: (12, "digest"),
    md5_digit: (8, "digest"),
    hash_dropped: (6, ""),
    hash_added: (2, "digest"),
    version: (14, ""),
    build: (12, ""),
    build_of_another: (12, ""),
    package_name: (6, "rule"),
    host: (10, "rule"),
    channel: (12, ""),  # another channel of the same environment may have the same file
    channel_said: (4, "rule"),
    subdir: (10, ""),  # so may `noarch` and the platform
    archive: (3, "digest"),
    dropped_record: (12, ""),
    added_record: (14, "rule"),
    depends_changed: (12, ""),
    depends_dropped: (10, ""),
    depends_added: (8, "rule"),
    constrains_changed: (5, ""),
    constrains_added: (4, "rule"),
    size: (4, "digest"),
    timestamp: (3, "digest"),
    licence: (2, "digest"),
    purl: (2, "digest"),
    build_number: (2, "digest"),
    virtual_package: (5, "rule"),
    channel_list: (6, "rule"),
    environment_dropped: (4, "rule"),
    environment_added: (2, "rule"),
    platform_dropped: (4, "rule"),
    option: (5, "rule"),
    format_version: (3, "read"),
    older_format: (1, "rule"),
}


def judge(space: manifest.Workspace, recorded: lockfile.Recorded, path: Path) -> tuple[str, list[Remark]]:
    """``read``, ``rule``, ``digest`` or, where nothing refuses the lock, ``accepted``."""
    try:
        lock = lockfile.read(path, space.platforms)
    except D2lEnvError:
        return "read", []
    errors = check.errors(check.check(space, lock, recorded))
    if any(error.rule != "digest" for error in errors):
        return "rule", errors
    return ("digest" if errors else "accepted"), errors


@pytest.fixture(scope="module")
def space() -> manifest.Workspace:
    return manifest.load(ROOT)


@pytest.fixture(scope="module")
def recorded() -> lockfile.Recorded:
    return lockfile.read_digests(ROOT / lockfile.DIGESTS)


def test_every_edit_that_changes_meaning_is_refused(
    space: manifest.Workspace,
    recorded: lockfile.Recorded,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / manifest.LOCK
    counts: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    seen: set[str] = set()
    for edit, (times, by) in KINDS.items():
        rng = random.Random(f"d2l-env {edit.__name__}")
        for number in range(times):
            text = edit(rng)
            assert text != TEXT
            seen.add(text)
            path.write_text(text, encoding="utf-8", newline="\n")
            verdict, _ = judge(space, recorded, path)
            counts[edit.__name__, verdict] += 1
            # A text that py-rattler does not read is refused as well.
            expected = {"rule", "digest"} if by == "" else {by}
            if verdict not in expected | {"read"}:
                wrong.append(f"{edit.__name__} {number}: {verdict}, expected {by or 'any refusal'}")
    total = sum(counts.values())
    with capsys.disabled():
        print(f"\n{total} edits of pixi.lock, {len(seen)} different:")
        for edit in KINDS:
            told = ", ".join(f"{n} {v}" for (name, v), n in sorted(counts.items()) if name == edit.__name__)
            print(f"  {edit.__name__:20} {told}")
    for (name, verdict), count in counts.items():
        record_property(f"{name}.{verdict}", count)
    assert not wrong
    assert total >= 200
    # Reading alone must not be what refuses: `check` itself judged at least 200.
    assert sum(count for (_, verdict), count in counts.items() if verdict in ("rule", "digest")) >= 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 7\n", "# a comment\nversion: 7\n"),
        ("environments:\n", "environments:   # these\n"),
        (BLOCKS[0] + BLOCKS[1], BLOCKS[1] + BLOCKS[0]),
        (f"    - url: {HOST}conda-forge/\n", f"    - {{url: '{HOST}conda-forge'}}\n"),
    ],
    ids=["comment", "comment in a line", "order of records", "flow style"],
)
def test_an_edit_that_changes_only_the_layout_breaks_no_rule(
    space: manifest.Workspace,
    recorded: lockfile.Recorded,
    tmp_path: Path,
    old: str,
    new: str,
) -> None:
    path = tmp_path / manifest.LOCK
    assert old in TEXT
    path.write_text(TEXT.replace(old, new), encoding="utf-8", newline="\n")
    verdict, errors = judge(space, recorded, path)
    assert verdict == "accepted", errors


def test_the_finding_names_the_place_the_package_and_the_rule(
    space: manifest.Workspace, recorded: lockfile.Recorded, tmp_path: Path
) -> None:
    url = next(url for url in URLS if "/numpy-1.23.5-py310h53a5b5f" in url)
    path = tmp_path / manifest.LOCK
    path.write_text(swap(url, url.replace("1.23.5", "1.23.4")), encoding="utf-8", newline="\n")
    _, errors = judge(space, recorded, path)
    lines = [error.line() for error in errors]
    assert any(line.startswith("cuda/linux-64: d2l: depends on `numpy ==1.23.5`") for line in lines), lines
    assert any(line.endswith("numpy: changed since the digests were recorded [digest]") for line in lines)
