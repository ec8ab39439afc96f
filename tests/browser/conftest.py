"""A real JupyterLab out of a real environment, in a real browser; only when asked for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import Running, Tab, watched

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    filter(None, (os.environ.get("D2LENV_CHROMIUM"), *map(shutil.which, ("chromium", "google-chrome")))), None
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "browser" in config.getoption("-m"):
        return
    skip = pytest.mark.skip(
        reason="not checked: `nox -s lab_test` runs it in a browser, on a built environment"
    )
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(skip)


@pytest.fixture
def start_lab(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start `d2lenv lab` on a copy of the notebooks; ended by Ctrl-C when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def start(
        environment: str,
        folder: Path | None = None,
        *,
        language: str = "en",
        workspace: Path = tmp_path,
        home: Path = tmp_path / "home",
    ) -> Running:
        home.mkdir(exist_ok=True)
        prefix = ROOT / ".d2lenv" / f"{environment}-wheels"
        if not prefix.is_dir():
            pytest.fail(f"build it first: d2lenv build {environment} --engine wheels")
        if folder is None:
            folder = tmp_path / "my notebooks 笔记本"
            ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(ROOT / "notebooks", folder, ignore=ignored)
        command = [
            sys.executable,
            "-m",
            "d2lenv",
            "--workspace",
            str(workspace),
            "lab",
            environment,
            "--json",
        ]
        command += ["--prefix", str(prefix), "--notebooks", str(folder), "--no-browser"]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(home), "D2LENV_LANG": language},
            start_new_session=True,
        )
        started.append(process)
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if line.startswith("}"):
                break
        answer = json.loads(said)
        return Running(process, answer["base"], answer["url"], answer["token"], prefix, folder)

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


@pytest.fixture
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="not checked: playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("not checked: there is no chromium on this machine")
    with sync_api.sync_playwright() as playwright, tempfile.TemporaryDirectory() as user_data:
        context = playwright.chromium.launch_persistent_context(
            user_data,
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1280, "height": 860},
        )
        yield context
        context.close()


@pytest.fixture
def tab(browser: Any) -> Tab:
    return watched(browser.pages[0])
