"""What the browser tests drive: a running lab, a tab that is watched, a small disk."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCREENSHOTS = Path(__file__).parents[2] / "reports" / "lab"


@dataclass(frozen=True)
class Running:
    """A lab and what it said of itself."""

    process: subprocess.Popen[str]
    base: str
    url: str
    token: str
    prefix: Path
    folder: Path


@dataclass
class Tab:
    """A page with what went wrong in it."""

    page: Any
    errors: list[str]
    run_menu: str = "Run"

    def open(self, running: Running, notebook: str, kernel: str) -> None:
        """Open a notebook and wait until its kernel is there and idle."""
        self.page.goto(f"{running.base}/lab/tree/{notebook}?token={running.token}")
        self.ready(kernel)

    def ready(self, kernel: str) -> None:
        name = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Toolbar-kernelName")
        name.filter(has_text=kernel).wait_for(timeout=90_000)
        self.idle()

    def idle(self) -> None:
        indicator = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook-ExecutionIndicator[data-status=idle]"
        self.page.wait_for_selector(indicator, timeout=120_000)

    def menu(self, menu: str, command: str) -> None:
        """Click a command of the menu bar, in JupyterLab 3 (``p-``) or 4 (``lm-``)."""
        self.page.click(f".lm-MenuBar-itemLabel:text-is('{menu}')")
        self.page.click(f'.lm-Menu li[data-command="{command}"]')

    def run_all(self, until: str) -> None:
        """Run all cells; scroll, because a cell out of sight is not in the page, until ``until`` appears."""
        self.menu(self.run_menu, "runmenu:run-all")
        busy = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook-ExecutionIndicator:not([data-status=idle])"
        for _ in range(40):
            if self.page.locator(busy).count() or self.page.locator(until).count():
                break
            self.page.wait_for_timeout(250)
        else:  # a kernel that connects just then may lose the request (seen once, 2026-11-24)
            self.menu(self.run_menu, "runmenu:run-all")
        self.scroll_to(until)

    def scroll_to(self, selector: str) -> None:
        box = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-NotebookPanel-notebook")
        box.hover(position={"x": 300, "y": 300})
        for _ in range(400):
            if self.page.locator(selector).count():
                self.page.locator(selector).last.scroll_into_view_if_needed()
                return
            self.page.mouse.wheel(0, 300)
            self.page.wait_for_timeout(250)
        said = self.page.locator(".jp-OutputArea-output").all_inner_texts()
        pytest.fail(f"{selector} did not appear; the last outputs: {said[-3:]}")

    def type(self, source: str) -> None:
        """Put ``source`` into the first code cell and run it."""
        cell = self.page.locator(".jp-CodeCell .cm-content, .jp-CodeCell .CodeMirror").first
        cell.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Shift+Enter")

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def watched(page: Any) -> Tab:
    """``page``, its console errors, exceptions and failed requests collected."""
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"{request.url}: {request.failure}"))
    page.on("response", lambda got: errors.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    return Tab(page, errors)
