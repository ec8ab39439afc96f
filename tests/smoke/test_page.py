"""The page says what happened, and nothing in it can run."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbformat.v4 import new_output

from d2lenv.smoke import page
from d2lenv.smoke.results import Check, Measurement, NotebookResult, SeededNumber
from smokekit import DEAD, HOSTILE, PASSED, STOPPED, UNFIT, WRONG, executed, run_of

SVG = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


class Page(HTMLParser):
    """Tags, addresses and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_verdict_checks_versions_and_what_was_not_checked() -> None:
    shown = Page(page.page(run_of(PASSED, UNFIT), "cuda"))
    for words in (
        "Works, as far as this machine can tell",
        "01-good",
        "the GPU adds",
        "no NVIDIA GPU",
        "2.0.1",
        "4.5 0.1",
        "± 1e-06",
        "14.2 ms",
        "needs d2l>=1.0, here 0.17.6",
    ):
        assert words in shown.text, words


@pytest.mark.parametrize(
    ("notebooks", "verdict"),
    [
        ((NotebookResult("n", Path("n"), "passed"),), "Everything works"),
        ((PASSED, WRONG, DEAD), "2 of 3 notebooks failed"),
        ((UNFIT,), "No notebook is for this environment"),
        ((WRONG, STOPPED), "Stopped before the end"),
    ],
)
def test_the_verdict_is_the_worst_that_happened(notebooks: tuple[NotebookResult, ...], verdict: str) -> None:
    assert verdict in Page(page.page(run_of(*notebooks), "cuda")).text


def test_the_page_is_in_both_languages_and_opens_in_the_reader_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for language, code in (("en", "en"), ("zh", "zh-CN")):
        monkeypatch.setenv("D2LENV_LANG", language)
        text = page.page(run_of(PASSED), "cuda")
        assert '<span lang="en">Versions</span><span lang="zh-CN">版本</span>' in text
        assert f'id="{code}" checked>' in text
        assert text.count(" checked>") == 1
        assert '<label for="en">English</label><label for="zh-CN">中文</label>' in text


def test_hostile_words_are_shown_as_words() -> None:
    bad = NotebookResult(
        HOSTILE, Path("n.ipynb"), "failed", 1.0, HOSTILE, "error", HOSTILE, HOSTILE, HOSTILE, HOSTILE,
        checks=(Check(HOSTILE, "failed", HOSTILE), Check(HOSTILE, "not-checked", HOSTILE)),
        fingerprints=(SeededNumber(HOSTILE, (1.0,), 1.0),),
        measurements=(Measurement(HOSTILE, 1.0, HOSTILE),),
    )  # fmt: skip
    shown = Page(page.page(run_of(bad), HOSTILE))
    assert not {"script", "img"} & set(shown.tags)
    assert "onerror" not in shown.attributes
    assert shown.text.count(HOSTILE) >= 10


def test_hostile_outputs_are_shown_as_words_and_inert_images(tmp_path: Path) -> None:
    path = executed(
        tmp_path / "n.ipynb",
        new_output("stream", name="stdout", text=HOSTILE),
        new_output("stream", name="stderr", text=HOSTILE),
        new_output("display_data", data={"text/html": HOSTILE, "text/plain": HOSTILE}),
        new_output("display_data", data={"image/svg+xml": SVG, "text/plain": ""}),
        new_output("display_data", data={"image/png": '"><script>alert(1)</script>', "text/plain": ""}),
        new_output("display_data", data={"application/javascript": "alert(1)", "text/plain": "js"}),
    )
    shown = Page(page.page(run_of(NotebookResult("n", Path("n.ipynb"), "passed", executed=path)), "cuda"))
    assert "script" not in shown.tags
    images = [address for address in shown.addresses if address.startswith("data:")]
    assert [image.partition(",")[0] for image in images] == [
        "data:image/svg+xml;base64",
        "data:image/png;base64",
    ]
    assert "<" not in images[1]
    assert shown.text.count(HOSTILE) == 3


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    path = executed(
        tmp_path / "n.ipynb", new_output("display_data", data={"image/jpeg": "AAAA", "text/plain": ""})
    )
    text = page.page(run_of(NotebookResult("n", Path("n.ipynb"), "passed", executed=path)), "cuda")
    shown = Page(text)
    assert all(address.startswith(("data:", "#", "notebooks/")) for address in shown.addresses)
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    assert "default-src 'none'" in text
    assert "url(" not in text


def test_traceback_stderr_and_kernel_log_are_on_the_page_without_colour_codes(tmp_path: Path) -> None:
    path = executed(tmp_path / "n.ipynb", new_output("stream", name="stderr", text="\x1b[31mwarned\x1b[0m"))
    failed = NotebookResult(
        "n",
        path,
        "failed",
        cause="error",
        reason="r",
        traceback="Traceback x",
        kernel_log="log y",
        executed=path,
    )
    shown = Page(page.page(run_of(failed), "cuda"))
    for words in ("Traceback x", "log y", "warned"):
        assert words in shown.text
    assert "\x1b" not in shown.text


def test_endless_output_is_shortened_and_says_so(tmp_path: Path) -> None:
    path = executed(tmp_path / "n.ipynb", new_output("stream", name="stdout", text="x" * 30_000))
    printed = page.outputs(path).printed
    assert len(printed) < 21_000
    assert printed.endswith("… 10000 more characters in the notebook")
