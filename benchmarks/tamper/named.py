"""A list of changes that somebody could make on purpose, each with its name."""

from __future__ import annotations

import base64
import hashlib
import json
import marshal
import os
import shutil
from collections.abc import Callable

from drawn import (
    EVIL,
    GONE,
    Tampering,
    append,
    delete,
    empty,
    flip,
    folder_to_link,
    mode,
    poison,
    retarget,
    to_folder,
    to_link,
    to_pipe,
)
from sandbox import Sandbox, rewrite

from d2lenv.prefix import baseline
from d2lenv.prefix.marker import MARKER

SITE = "lib/python3.10/site-packages"
KERNELS = "share/jupyter/kernels"
_OWN_WORDS = ("-m", "ipykernel_launcher", "-f", "{connection_file}")
Apply = Callable[[Sandbox, str], None]


def text(path: str, change: Callable[[str], str]) -> Apply:
    """Change a text of the prefix."""

    def apply(box: Sandbox, _path: str) -> None:
        place = box.fresh(path)
        old = place.read_text(encoding="utf-8")
        new = change(old)
        assert old != new, path
        place.write_text(new, encoding="utf-8")

    return apply


def write(path: str, content: str = EVIL) -> Apply:
    def apply(box: Sandbox, _path: str) -> None:
        box.new(path).write_text(content.replace("PREFIX", str(box.root)), encoding="utf-8")

    return apply


def on(path: str, apply: Apply) -> Apply:
    return lambda box, _path: apply(box, path)


def kernel(name: str, words: tuple[str, ...], **fields: object) -> Apply:
    return write(f"{KERNELS}/{name}/kernel.json", json.dumps({"argv": words, "display_name": "x", **fields}))


def with_record(box: Sandbox, path: str) -> None:
    """Change a module and its line in RECORD so that they agree."""
    place, record = (
        box.fresh(f"{SITE}/{path}"),
        next((box.root / SITE).glob("requests-*.dist-info")) / "RECORD",
    )
    rewrite(place, place.read_bytes() + EVIL.encode())
    digest = base64.urlsafe_b64encode(hashlib.sha256(place.read_bytes()).digest()).rstrip(b"=").decode()
    own = box.fresh(record.relative_to(box.root).as_posix())
    lines = [
        f"{path},sha256={digest},{place.stat().st_size}" if line.startswith(f"{path},") else line
        for line in own.read_text(encoding="utf-8").splitlines()
    ]
    own.write_text("\n".join(lines) + "\n", encoding="utf-8")


def python_is_a_shell(box: Sandbox, _path: str) -> None:
    box.take("bin/python")
    (box.root / "bin/python").symlink_to("/bin/sh")


def python_as_copy(box: Sandbox, _path: str) -> None:
    kept = box.take("bin/python")
    shutil.copy2(os.path.realpath(os.readlink(kept)), box.root / "bin/python")  # noqa: PTH115


def swapped(one: str, other: str) -> Apply:
    def apply(box: Sandbox, _path: str) -> None:
        first, second = box.take(one), box.take(other)
        shutil.copy2(first, box.root / other)
        shutil.copy2(second, box.root / one)

    return apply


def sourceless(box: Sandbox, _path: str) -> None:
    box.take(f"{SITE}/six.py")
    place = box.new(f"{SITE}/six.pyc")
    place.write_bytes(bytes(16) + marshal.dumps(compile(EVIL, "six.py", "exec")))


def compiled(name: str, apply: Apply) -> Apply:
    """For a compiled file that the run of the environment left."""

    def run(box: Sandbox, _path: str) -> None:
        (found,) = (box.root / SITE).glob(name)
        apply(box, found.relative_to(box.root).as_posix())

    return run


def optimised(box: Sandbox, _path: str) -> None:
    """`python -O` reads another file, which nobody made yet."""
    honest = next((box.root / SITE / "idna" / "__pycache__").glob("core.*.pyc"))
    name = honest.name.replace(".pyc", ".opt-1.pyc")
    place = box.new(f"{SITE}/idna/__pycache__/{name}")
    place.write_bytes(honest.read_bytes()[:16] + marshal.dumps(compile(EVIL, "x.py", "exec")))


def without_baseline(*, marker: bool = False, content: str | None = None, second: bool = False) -> Apply:
    def apply(box: Sandbox, _path: str) -> None:
        own = baseline.path_of(box.root)
        if second:
            planted = own.with_name(
                f"..{box.root.name}.building-1{own.name.removeprefix('.' + box.root.name)}"
            )
            box.beside(planted)
            shutil.copy2(own, planted)
            return
        box.beside(own)
        own.unlink() if content is None else own.write_text(content, encoding="utf-8")
        if marker:
            box.take(MARKER)

    return apply


def root_writable(box: Sandbox, _path: str) -> None:
    box.chmod(".", 0o002)


def new_distribution(box: Sandbox, _path: str) -> None:
    info = f"{SITE}/evil-1.0.dist-info"
    box.new(f"{info}/METADATA").write_text(
        "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n", encoding="utf-8"
    )
    (box.root / info / "INSTALLER").write_text("uv", encoding="utf-8")
    (box.root / info / "RECORD").write_text("evil.py,,\n", encoding="utf-8")
    write(f"{SITE}/evil.py")(box, "")


def good_kernel_by_link(box: Sandbox, _path: str) -> None:
    words = [f"{box.root}/bin/python", *_OWN_WORDS]
    (box.attic / "kernel.json").write_text(json.dumps({"argv": words}), encoding="utf-8")
    box.new(f"{KERNELS}/evil/kernel.json").symlink_to(box.attic / "kernel.json")


def bytes_name(box: Sandbox, _path: str) -> None:
    box.new(os.fsdecode(f"{SITE}/".encode() + b"\xff\xfe.py")).write_text(EVIL, encoding="utf-8")


_PYTHON = "PREFIX/bin/python"
_DISTRIBUTION = f"{SITE}/idna-*.dist-info"


def in_distribution(pattern: str, name: str, apply: Apply) -> Apply:
    def run(box: Sandbox, _path: str) -> None:
        (folder,) = box.root.glob(pattern)
        path = folder.relative_to(box.root).as_posix()
        apply(box, f"{path}/{name}" if name else path)

    return run


def overwrite(content: str) -> Apply:
    return lambda box, path: rewrite(box.fresh(path), content.encode())


NAMED = (
    Tampering("libtorch_cpu.so: a bit", on(f"{SITE}/torch/lib/libtorch_cpu.so", flip), quick=False),
    Tampering("torch/__init__.py: a line more", on(f"{SITE}/torch/__init__.py", append)),
    Tampering(
        "two shared objects swapped", swapped(f"{SITE}/torch/lib/libc10.so", f"{SITE}/torch/lib/libshm.so")
    ),
    Tampering("d2l/torch.py: a bit", on(f"{SITE}/d2l/torch.py", flip), quick=True),
    Tampering("d2l/torch.py is gone", on(f"{SITE}/d2l/torch.py", delete)),
    Tampering("d2l/__init__.py is an empty folder", on(f"{SITE}/d2l/__init__.py", to_folder)),
    Tampering("d2l/torch.py is a pipe", on(f"{SITE}/d2l/torch.py", to_pipe)),
    Tampering("sitecustomize.py", write(f"{SITE}/sitecustomize.py")),
    Tampering("usercustomize.py", write(f"{SITE}/usercustomize.py")),
    Tampering("evil.pth", write(f"{SITE}/evil.pth", "import os\n")),
    Tampering(
        "a .pth of a wheel changed",
        text(f"{SITE}/distutils-precedence.pth", lambda old: f"import evil; {old}"),
    ),
    Tampering("an editable finder", write(f"{SITE}/__editable___evil_finder.py")),
    Tampering("python is /bin/sh", python_is_a_shell),
    Tampering("python3.10 points elsewhere", on("bin/python3.10", retarget)),
    Tampering("python is a copy instead of a link", python_as_copy),
    Tampering(
        "pyvenv.cfg: another home", text("pyvenv.cfg", lambda old: old.replace("home = ", "home = /tmp"))
    ),
    Tampering(
        "pyvenv.cfg: system packages",
        text("pyvenv.cfg", lambda old: old.replace("packages = false", "packages = true")),
    ),
    Tampering("bin/activate changed", text("bin/activate", lambda old: f"evil\n{old}")),
    Tampering("bin/jupyter-lab changed", text("bin/jupyter-lab", lambda old: old + EVIL)),
    Tampering("bin/jupyter-lab setuid", on("bin/jupyter-lab", mode(0o4000))),
    Tampering("a program added", write("bin/evil")),
    Tampering(
        "ipykernel's kernelspec: other words",
        text(f"{KERNELS}/python3/kernel.json", lambda old: old.replace("ipykernel_launcher", "evil")),
    ),
    Tampering(
        "our kernelspec: variables",
        text(
            f"{KERNELS}/d2l-cuda/kernel.json",
            lambda old: old.replace("{", '{"env": {"PYTHONPATH": "/x"},', 1),
        ),
    ),
    Tampering("kernelspec that starts a shell", kernel("evil", ("/bin/sh", "-c", "evil"))),
    Tampering(
        "kernelspec with variables", kernel("evil", (_PYTHON, *_OWN_WORDS), env={"PYTHONSTARTUP": "x"})
    ),
    Tampering(
        "kernelspec with a provisioner",
        kernel("evil", (_PYTHON, *_OWN_WORDS), metadata={"kernel_provisioner": {"provisioner_name": "evil"}}),
    ),
    Tampering("kernelspec of another Python", kernel("evil", ("/usr/bin/python3", *_OWN_WORDS))),
    Tampering("kernelspec of another program in bin", kernel("evil", ("PREFIX/bin/cmake", *_OWN_WORDS))),
    Tampering("kernelspec with a way out of bin", kernel("evil", ("PREFIX/bin/../../python", *_OWN_WORDS))),
    Tampering("good kernelspec, as a link", good_kernel_by_link),
    Tampering(
        "good kernelspec",
        kernel("mine", (_PYTHON, *_OWN_WORDS)),
        quick=False,
        harmless="an added kernelspec that starts this Python",
    ),
    Tampering(
        "page_config.json with addresses",
        write("etc/jupyter/labconfig/page_config.json", '{"fullMathjaxUrl": "https://evil.example"}'),
    ),
    Tampering(
        "page_config.json with switches",
        write("etc/jupyter/labconfig/page_config.json", '{"disabledExtensions": {"a": true}}'),
        quick=False,
        harmless="a `page_config.json`",
    ),
    Tampering("overrides.json", write("share/jupyter/lab/settings/overrides.json", "{}")),
    Tampering("a lab extension", write("share/jupyter/labextensions/evil/package.json", "{}")),
    Tampering(
        "the lab's page changed",
        text("share/jupyter/lab/static/index.html", lambda old: old + "<script></script>"),
    ),
    Tampering("jupyter_server_config.py", write("etc/jupyter/jupyter_server_config.py")),
    Tampering("a server extension", write("etc/jupyter/jupyter_server_config.d/evil.json", "{}")),
    Tampering(
        "a server extension changed",
        text(
            "etc/jupyter/jupyter_server_config.d/jupyterlab.json",
            lambda old: old.replace("jupyterlab", "evil"),
        ),
    ),
    Tampering("an IPython startup file", write("etc/ipython/startup/evil.py")),
    Tampering("a module and its line in RECORD", on("requests/api.py", with_record)),
    Tampering("RECORD is gone", in_distribution(_DISTRIBUTION, "RECORD", delete)),
    Tampering("RECORD is empty", in_distribution(_DISTRIBUTION, "RECORD", empty)),
    Tampering(
        "RECORD names a file outside",
        in_distribution(_DISTRIBUTION, "RECORD", overwrite("../../../../../../etc/passwd,,\n")),
    ),
    Tampering(
        "METADATA: another version",
        in_distribution(_DISTRIBUTION, "METADATA", overwrite("Name: idna\nVersion: 9.9\n")),
    ),
    Tampering("INSTALLER: pip", in_distribution(_DISTRIBUTION, "INSTALLER", overwrite("pip"))),
    Tampering(
        "direct_url.json",
        in_distribution(
            _DISTRIBUTION,
            "direct_url.json",
            lambda box, path: write(path, '{"url": "file:///evil"}')(box, ""),
        ),
    ),
    Tampering(
        "entry_points.txt changed",
        in_distribution(f"{SITE}/jupyterlab-*.dist-info", "entry_points.txt", append),
    ),
    Tampering("a distribution more", new_distribution),
    Tampering("a distribution less", in_distribution(_DISTRIBUTION, "", delete)),
    Tampering("a package less", on(f"{SITE}/idna", delete)),
    Tampering("a package is a link", on(f"{SITE}/idna", folder_to_link)),
    Tampering("lib64 points elsewhere", on("lib64", retarget)),
    Tampering("an empty folder called tensorflow", lambda box, _path: box.new(f"{SITE}/tensorflow").mkdir()),
    Tampering(
        "an empty __pycache__",
        lambda box, _path: box.new(f"{SITE}/cmake/__pycache__").mkdir(),
        quick=False,
        harmless="empty folders called `__pycache__`",
    ),
    Tampering(
        "a compiled file with other code", compiled("idna/__pycache__/core.*.pyc", poison), quick=False
    ),
    Tampering(
        "the same, unchecked hash",
        compiled("idna/__pycache__/core.*.pyc", lambda box, path: poison(box, path, flags=b"\1\0\0\0")),
        quick=False,
    ),
    Tampering("a compiled file for -O", optimised, quick=False),
    Tampering("a compiled file is a link", compiled("idna/__pycache__/core.*.pyc", to_link)),
    Tampering(
        "a compiled file is gone", compiled("idna/__pycache__/core.*.pyc", delete), quick=False, harmless=GONE
    ),
    Tampering("a compiled file without a source", write(f"{SITE}/idna/__pycache__/evil.cpython-310.pyc")),
    Tampering(
        "a compiled file of another Python",
        write(f"{SITE}/idna/__pycache__/core.cpython-27.pyc"),
        quick=False,
    ),
    Tampering("a module replaced by its compiled form", sourceless),
    Tampering("a compiled module beside", write(f"{SITE}/evil.pyc")),
    Tampering("a shared object beside", write(f"{SITE}/json.abi3.so")),
    Tampering("python310._pth", write("bin/python310._pth", "/evil\n")),
    Tampering("a folder that differs in case", write(f"{SITE}/Numpy/__init__.py")),
    Tampering("a hidden file", write(".hidden")),
    Tampering("conda-meta/state", write("conda-meta/state", "{}")),
    Tampering(
        "a package of conda", write("conda-meta/evil-1.0-0.json", '{"name": "evil", "version": "1.0"}')
    ),
    Tampering("a name with an escape sequence", write(f"{SITE}/evil\x1b]0;x\x07.py")),
    Tampering("a name with a line end", write(f"{SITE}/evil\n.py")),
    Tampering("a name that is not UTF-8", bytes_name),
    Tampering("site-packages writable for all", on(SITE, mode(0o002))),
    Tampering("the prefix writable for all", root_writable),
    Tampering(
        "the marker names another lock", text(MARKER, lambda old: old.replace('"digest": "', '"digest": "0'))
    ),
    Tampering(
        "the marker names another environment", text(MARKER, lambda old: old.replace('"cuda"', '"cpu"'))
    ),
    Tampering("no baseline", without_baseline()),
    Tampering("no baseline and no marker", without_baseline(marker=True)),
    Tampering("an empty baseline", without_baseline(content="")),
    Tampering("a baseline without entries", without_baseline(content='{"format": 3, "entries": []}')),
    Tampering("a second baseline", without_baseline(second=True)),
)
