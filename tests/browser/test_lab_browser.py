"""What a reader sees: the lab of the real environments in a headless Chromium."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from driver import Running, Tab, watched

from diskkit import small_disk

pytestmark = pytest.mark.browser

CUDA, ZH = "d2l (CUDA 11.7)", "d2l 中文版"
RESULT = ".jp-OutputArea-output caption"
PLOT = '.jp-OutputArea-output img[src^="data:image/"], .jp-OutputArea-output svg'


def write(path: Path, *sources: str, kernel: str = "python3") -> Path:
    """A notebook of a reader's own."""
    cells = [
        {
            "cell_type": "code",
            "id": f"c{n}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": s,
        }
        for n, s in enumerate(sources)
    ]
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    metadata = {"kernelspec": spec, "language_info": {"name": "python"}}
    data = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def result(tab: Tab) -> list[str]:
    """The rows of a notebook's last table."""
    found: list[str] = tab.page.locator(RESULT).last.locator("xpath=..").locator("tbody tr").all_inner_texts()
    return found


def processes_of(prefix: Path) -> list[str]:
    lines = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and words[0].startswith(str(prefix)):
            lines.append(" ".join(words)[:120])
    return lines


def test_the_first_lab_opens_the_start_page_in_the_right_kernel(
    start_lab: Callable[..., Running], tab: Tab
) -> None:
    running = start_lab("cuda")
    tab.page.goto(running.url)
    tab.ready(CUDA)
    assert tab.page.title().startswith("00-start")
    tab.run_all(RESULT)
    rows = result(tab)
    assert any("torch is installed" in row and "✓" in row for row in rows)
    assert not any("✗" in row for row in rows)
    assert not tab.page.locator(".jp-Dialog").count()
    tab.page.locator(".jp-NotebookPanel-notebook").hover()
    tab.page.mouse.wheel(0, -20_000)
    tab.page.wait_for_timeout(500)
    tab.screenshot("start-en")
    assert tab.errors == []


def test_who_reads_chinese_has_chinese_menus(start_lab: Callable[..., Running], tab: Tab) -> None:
    running = start_lab("cuda", language="zh")
    tab.run_menu = "运行"
    tab.page.goto(running.url)
    tab.ready(CUDA)
    tab.run_all(RESULT)
    assert not any("✗" in row for row in result(tab))
    assert tab.page.locator(".lm-MenuBar-itemLabel").all_inner_texts()[:3] == ["文件", "编辑", "查看"]
    tab.page.locator(".jp-NotebookPanel-notebook").hover()
    tab.page.mouse.wheel(0, -20_000)
    tab.page.wait_for_timeout(500)
    tab.screenshot("start-zh")
    assert tab.errors == []


def test_a_notebook_runs_to_its_end_and_its_plot_appears(start_lab: Callable[..., Running], tab: Tab) -> None:
    tab.open(start_lab("cuda"), "01-import-d2l.ipynb", CUDA)
    tab.run_all(RESULT)
    assert any("d2l.plot draws two curves" in row and "✓" in row for row in result(tab))
    plot = tab.page.locator(PLOT).last
    plot.scroll_into_view_if_needed()
    size = plot.bounding_box()
    assert size["width"] > 100
    assert size["height"] > 100
    assert plot.evaluate("image => image.naturalWidth === undefined || image.naturalWidth > 0")
    tab.screenshot("plot-en")
    assert tab.errors == []


def test_the_chinese_edition_opens_in_its_own_kernel_and_draws(
    start_lab: Callable[..., Running], tab: Tab
) -> None:
    tab.run_menu = "运行"
    tab.open(start_lab("zh", language="zh"), "03-train-zh.ipynb", ZH)
    tab.run_all(RESULT)
    assert not any("✗" in row for row in result(tab))
    plot = tab.page.locator(PLOT).last
    plot.scroll_into_view_if_needed()
    assert plot.bounding_box()["width"] > 100
    tab.screenshot("plot-zh")
    # MathJax 2 of JupyterLab 3 tries a font at about:blank, which Chromium refuses (seen with 3.5.0).
    assert [error for error in tab.errors if "about:blank" not in error and "ERR_FAILED" not in error] == []


def test_one_python_is_listed_and_a_notebook_of_the_book_opens_without_a_question(
    start_lab: Callable[..., Running], tab: Tab, tmp_path: Path
) -> None:
    write(tmp_path / "book.ipynb", "import sys; print(sys.prefix)", kernel="conda_pytorch_p36")
    running = start_lab("cuda", tmp_path)
    tab.open(running, "book.ipynb", CUDA)
    tab.run_all(".jp-OutputArea-output pre")
    assert str(running.prefix) in tab.page.locator(".jp-OutputArea-output pre").first.inner_text()
    assert not tab.page.locator(".jp-Dialog").count()
    names = tab.page.evaluate("() => fetch('/api/kernelspecs').then(r => r.json())")
    assert list(names["kernelspecs"]) == ["d2l-cuda"]
    assert names["default"] == "d2l-cuda"
    assert tab.errors == []


def test_a_kernel_that_dies_is_announced_and_what_was_saved_is_there(
    start_lab: Callable[..., Running], tab: Tab, tmp_path: Path
) -> None:
    path = write(tmp_path / "dies.ipynb", "print('saved before')", "import os; os._exit(1)")
    running = start_lab("cuda", tmp_path)
    tab.open(running, "dies.ipynb", CUDA)
    tab.page.locator(".jp-CodeCell").first.click()
    tab.page.keyboard.press("Shift+Enter")
    tab.page.locator(".jp-OutputArea-output pre").first.wait_for()
    tab.page.keyboard.press("Control+S")
    tab.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    assert "saved before" in json.dumps(cells(path)[0]["outputs"])
    tab.page.locator(".jp-CodeCell").nth(1).click()
    tab.page.keyboard.press("Shift+Enter")
    dialog = tab.page.locator(".jp-Dialog")
    dialog.wait_for(timeout=60_000)
    assert "appears to have died. It will restart automatically" in dialog.inner_text()
    tab.screenshot("kernel-died")
    dialog.locator("button").last.click()
    tab.ready(CUDA)
    assert "saved before" in json.dumps(cells(path)[0]["outputs"])


def test_after_a_closed_tab_the_kernel_and_its_variables_are_still_there(
    start_lab: Callable[..., Running], tab: Tab, tmp_path: Path, browser: Any
) -> None:
    write(tmp_path / "tab.ipynb", "x = 41; print('first')")
    running = start_lab("cuda", tmp_path)
    tab.open(running, "tab.ipynb", CUDA)
    tab.run_all(".jp-OutputArea-output pre")
    tab.page.keyboard.press("Control+S")
    tab.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    again = watched(browser.new_page())
    tab.page.close()
    again.open(running, "tab.ipynb", CUDA)
    assert "first" in again.page.locator(".jp-OutputArea-output pre").first.inner_text()
    again.type("print(x + 1)")
    again.page.locator(".jp-OutputArea-output pre", has_text="42").wait_for(timeout=30_000)


def test_a_notebook_that_is_no_json_is_explained_and_left_as_it_is(
    start_lab: Callable[..., Running], tab: Tab, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.ipynb"
    bad.write_text('{"cells": [', encoding="utf-8")
    running = start_lab("cuda", tmp_path)
    tab.page.goto(f"{running.base}/lab/tree/bad.ipynb?token={running.token}")
    dialog = tab.page.locator(".jp-Dialog")
    dialog.wait_for(timeout=60_000)
    assert "Unreadable Notebook" in dialog.inner_text() or "not appear to be JSON" in dialog.inner_text()
    tab.screenshot("invalid-json")
    assert bad.read_text(encoding="utf-8") == '{"cells": ['


def test_a_full_disk_is_announced_and_the_saved_notebook_is_whole(
    start_lab: Callable[..., Running], tab: Tab, tmp_path: Path
) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, "128k"):
        path = write(folder / "full.ipynb", "print('short')")
        running = start_lab("cuda", folder)
        tab.open(running, "full.ipynb", CUDA)
        tab.run_all(".jp-OutputArea-output pre")
        tab.page.keyboard.press("Control+S")
        tab.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
        saved = path.read_text(encoding="utf-8")
        tab.type("print('x' * 300_000)")
        tab.page.locator(".jp-OutputArea-output pre", has_text="xxxx").wait_for(timeout=30_000)
        tab.page.keyboard.press("Control+S")
        dialog = tab.page.locator(".jp-Dialog")
        dialog.wait_for(timeout=60_000)
        text = dialog.inner_text()
        tab.screenshot("disk-full")
        assert "Save" in text
        assert "No space left" in text or "full.ipynb" in text
        assert path.read_text(encoding="utf-8") == saved
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=60) == 0


def test_ctrl_c_leaves_no_process_of_the_environment(
    start_lab: Callable[..., Running], tab: Tab, tmp_path: Path
) -> None:
    child = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    write(tmp_path / "child.ipynb", child + "\nprint('started')")
    running = start_lab("cuda", tmp_path)
    tab.open(running, "child.ipynb", CUDA)
    tab.run_all(".jp-OutputArea-output pre")
    assert len(processes_of(running.prefix)) == 3  # the server, the kernel and the kernel's child
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(timeout=60) == 0
    assert processes_of(running.prefix) == []
