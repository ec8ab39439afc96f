"""Jupyter: which Python the notebook runs, and whether the parts fit together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

from d2lenv.base.messages import tr
from d2lenv.doctor import fixes
from d2lenv.doctor.model import Command, Context, Found, Problem, from_distribution, parsed
from d2lenv.prefix.contents.model import Kernelspec, Unreadable
from d2lenv.prefix.contents.prefix import read_kernelspecs

# What the starting program replaces itself: `python` in argv[0] means the Python that runs Jupyter.
_OWN = re.compile(r"python(3(\.\d+)?)?(\.exe)?", re.IGNORECASE)


def _interpreter(spec: Kernelspec) -> str:
    """The program of ``argv``, empty when Jupyter puts its own Python there."""
    return "" if _OWN.fullmatch(spec.argv[0]) else spec.argv[0]


def _is_python(spec: Kernelspec) -> bool:
    return spec.language.lower() == "python" or "ipykernel" in " ".join(spec.argv)


def _same(context: Context, program: str) -> bool:
    """Return True if ``program`` is this prefix's Python.

    Links are not followed: a venv's Python is a link to its base.
    """
    python = context.prefix.python
    if python is None:
        return False
    a, b = os.path.normcase(os.path.normpath(program)), os.path.normcase(os.path.normpath(python.parent))
    return os.path.dirname(a) == b and bool(_OWN.fullmatch(os.path.basename(a)))  # noqa: PTH119, PTH120


def _own(spec: Kernelspec) -> bool:
    """Return True for the kernels that this environment's own Python is expected behind.

    Any other name was chosen by a person (`ipykernel install --name`) and may stand for another environment.
    """
    return spec.name == "python3" or spec.name.startswith("d2l-")


def _again(context: Context, spec: Kernelspec) -> Command:
    prefix = context.prefix
    python = str(prefix.python or "python")
    argv = (python, "-m", "ipykernel", "install", "--prefix", str(prefix.path), "--name", spec.name)
    # A linked folder of kernels is not this environment's alone.
    inside = spec.file.parent.resolve().is_relative_to(prefix.path.resolve())
    return Command(argv, safe=inside and prefix.kind in ("venv", "conda") and prefix.python is not None)


def _user_folder(context: Context) -> Path:
    if folder := context.environ.get("JUPYTER_DATA_DIR"):
        return Path(folder) / "kernels"
    if context.machine.system == "Darwin":
        return context.home / "Library" / "Jupyter" / "kernels"
    if context.machine.system == "Windows":
        return (
            Path(context.environ.get("APPDATA") or context.home / "AppData" / "Roaming")
            / "jupyter"
            / "kernels"
        )
    return (
        Path(context.environ.get("XDG_DATA_HOME") or context.home / ".local" / "share")
        / "jupyter"
        / "kernels"
    )


def kernel_gone(context: Context) -> Iterator[Problem]:
    """A kernelspec is the note that tells Jupyter which Python a notebook runs. This one names a Python that
    does not exist (the environment was moved or removed): the notebook says `Kernel died` or `No such
    file or directory` when it starts."""
    for spec in context.prefix.kernelspecs:
        program = _interpreter(spec)
        if program and Path(program).is_absolute() and not Path(program).exists():
            yield Problem(
                "error",
                tr("the kernel `{name}` points to a Python that is gone", name=spec.name),
                "kernelspec",
                (Found(program, "", str(spec.file)),),
                (_again(context, spec) if _own(spec) else fixes.remove(spec.file.parent),),
            )


def kernel_unreadable(context: Context) -> Iterator[Problem]:
    """The note that tells Jupyter which Python to start is damaged: Jupyter leaves the kernel out, or says
    `Invalid kernelspec`, and no notebook starts with it."""
    for item in context.prefix.unreadable:
        if item.path.name == "kernel.json":
            name = item.path.parent.name
            spec = Kernelspec(name, item.path, ("python",))
            yield Problem(
                "error" if _own(spec) else "warning",
                tr("the kernel `{name}` cannot be read", name=name),
                "kernelspec",
                (Found(item.path.name, item.why, str(item.path)),),
                (_again(context, spec) if _own(spec) else fixes.remove(item.path.parent),),
            )


def kernel_elsewhere(context: Context) -> Iterator[Problem]:
    """The notebook runs another Python than the prompt: this environment's kernelspec starts a Python of
    another environment, with that one's packages. `import torch` works in one and fails in the other."""
    for spec in context.prefix.kernelspecs:
        program = _interpreter(spec)
        if (
            not program
            or not _is_python(spec)
            or not Path(program).is_absolute()
            or not Path(program).exists()
        ):
            continue
        if _own(spec) and not _same(context, program):
            yield Problem(
                "error" if spec.name == "python3" else "warning",
                tr("the kernel `{name}` runs another Python than this environment's", name=spec.name),
                "kernelspec",
                (
                    Found(program, "", str(spec.file)),
                    Found(tr("this environment"), "", str(context.prefix.python or "")),
                ),
                (_again(context, spec),),
            )


def _prefers_environment(context: Context) -> bool:
    """Return True if this environment's Jupyter looks into the environment before the home folder.

    That is `prefer_environment_over_user` of jupyter_core: since 5.0 a virtual environment, or a conda
    environment that is not the base one, comes first if it is the user's own. JUPYTER_PREFER_ENV_PATH decides
    before that, since 4.8.
    """
    core = parsed(context.version("jupyter-core"))
    chosen = context.environ.get("JUPYTER_PREFER_ENV_PATH")
    if chosen is not None and core is not None and core >= Version("4.8"):
        return chosen.lower() not in ("no", "n", "false", "off", "0", "0.0")
    if core is None or core < Version("5") or not os.access(context.prefix.path, os.W_OK):
        return False
    if context.prefix.kind == "conda":
        return context.prefix.conda_package("conda") is None
    return context.prefix.kind == "venv"


def user_kernel_shadows(context: Context) -> Iterator[Problem]:
    """A kernelspec in the home folder has the same name as this environment's, and this environment's Jupyter
    finds it first, so notebooks start that one's Python. It is left from `ipykernel install --user` in
    another environment."""
    if not context.version("jupyter-core"):
        return
    own = {spec.name for spec in context.prefix.kernelspecs}
    trouble: list[Unreadable] = []
    for folder, title, cure in _before_the_environments(context):
        for spec in read_kernelspecs(folder, trouble):
            program = _interpreter(spec)
            if spec.name in own and program and not _same(context, program):
                yield Problem(
                    "warning",
                    title.format(name=spec.name),
                    "kernelspec",
                    (Found(program, "", str(spec.file)),),
                    (cure or _unshadowed(spec, program),),
                )
    context.trouble.extend(trouble)


def _before_the_environments(context: Context) -> Iterator[tuple[Path, str, Command | None]]:
    """Yield the folders of kernels that Jupyter looks into first: the folder, the title, the cure."""
    for entry in dict.fromkeys(context.environ.get("JUPYTER_PATH", "").split(os.pathsep)):
        if entry and not Path(entry).is_relative_to(context.prefix.path):
            title = tr("the kernel `{name}` in JUPYTER_PATH hides this environment's")
            yield Path(entry) / "kernels", title, fixes.unset("JUPYTER_PATH")
    if not _prefers_environment(context):
        title = tr("the kernel `{name}` in the home folder hides this environment's")
        yield _user_folder(context), title, None


def user_kernels_gone(context: Context) -> Iterator[Problem]:
    """A kernel in the home folder belongs to an environment that was removed. Every Jupyter offers it, and a
    notebook that was saved with it says `No such file or directory` or waits for ever."""
    if not context.version("jupyter-core"):
        return
    own = {spec.name for spec in context.prefix.kernelspecs}
    trouble: list[Unreadable] = []  # the shadows above have noted it
    asked = {notebook.kernel for notebook in context.notebooks}
    for spec in read_kernelspecs(_user_folder(context), trouble):
        program = _interpreter(spec)
        if spec.name in own or not Path(program).is_absolute() or Path(program).exists():
            continue
        yield Problem(
            "error" if spec.name in asked else "warning",
            tr("the kernel `{name}` of the home folder points to a Python that is gone", name=spec.name),
            "kernelspec-" + spec.name,
            (Found(program, "", str(spec.file)),),
            (fixes.remove(spec.file.parent),),
        )


def _unshadowed(spec: Kernelspec, program: str) -> Command:
    """A kernel whose Python is gone can go too. Another environment's is left to it: the order is changed."""
    if Path(program).is_absolute() and not Path(program).exists():
        return fixes.remove(spec.file.parent)
    return fixes.export("JUPYTER_PREFER_ENV_PATH", "1")


def no_kernel(context: Context) -> Iterator[Problem]:
    """Jupyter is installed here, but `ipykernel`, which runs the notebook's cells, is not: no Python kernel
    can start in this environment."""
    prefix = context.prefix
    front = next((name for name in ("jupyterlab", "notebook", "nbclient") if prefix.find(name)), "")
    if front and prefix.find("ipykernel") is None:
        yield Problem(
            "error",
            tr("there is {front}, but no ipykernel", front=front),
            "ipykernel",
            (Found(front, context.version(front)),),
            (fixes.install(context, ("ipykernel",), ("ipykernel",)),),
        )


def no_jupyter(context: Context) -> Iterator[Problem]:
    """PyTorch is here, Jupyter is not. `jupyter lab` at this prompt then starts the Jupyter of another
    environment, and the notebook does not find this one's torch. `jupyter lab` must come from the
    environment whose packages the notebook uses."""
    prefix = context.prefix
    if not context.version("torch") or prefix.find("jupyterlab") or prefix.find("notebook"):
        return
    elsewhere = context.machine.jupyter if context.active else ""
    yield Problem(
        "warning" if elsewhere else "info",
        tr("`jupyter` comes from another environment")
        if elsewhere
        else tr("Jupyter is not installed in this environment"),
        "jupyter",
        (Found("jupyter", "", elsewhere),) if elsewhere else (),
        (fixes.install(context, ("jupyterlab", "ipykernel"), ("jupyterlab", "ipykernel")),),
    )


def jupyter_elsewhere(context: Context) -> Iterator[Problem]:
    """The `jupyter` that the prompt finds first belongs to another environment than the active one, although
    this one has its own. Notebooks then run that environment's Python. `python -m jupyter lab` always
    takes the active environment's."""
    jupyter, prefix = context.machine.jupyter, context.prefix
    own = prefix.find("jupyterlab") or prefix.find("notebook")
    if context.active and jupyter and own and not Path(jupyter).is_relative_to(prefix.path):
        yield Problem(
            "warning",
            tr("the prompt finds another environment's `jupyter` first"),
            "jupyter",
            (Found("jupyter", "", jupyter), from_distribution(own)),
            (Command((str(prefix.python or "python"), "-m", "jupyter", "lab")),),
        )


def parts_do_not_fit(context: Context) -> Iterator[Problem]:
    """These versions of Jupyter's parts are known not to work together: the browser shows the notebook, the
    kernel never answers (`Connecting to kernel`). Notebook before 6.5.3 was written for jupyter_client
    before 8 and pyzmq before 25 (jupyter/notebook#6749), notebook before 5.7.5 for tornado before 6
    (jupyter/notebook#4439)."""
    notebook = context.prefix.find("notebook")
    have = parsed(notebook.version) if notebook else None
    if notebook is None or have is None:
        return
    for before, other, limit, spec in (
        ("6.5.3", "jupyter-client", "8", "jupyter-client<8"),
        ("6.5.3", "pyzmq", "25", "pyzmq<25"),
        ("5.7.5", "tornado", "6", "tornado<6"),
    ):
        version = parsed(context.version(other))
        distribution = context.prefix.find(other)
        if distribution is None or version is None or have >= Version(before) or version < Version(limit):
            continue
        yield Problem(
            "warning",
            tr(
                "notebook {notebook} does not work with {other} {version}",
                notebook=have,
                other=other,
                version=version,
            ),
            "notebook",
            (from_distribution(notebook), from_distribution(distribution)),
            (fixes.install(context, (spec,), (spec,)),),
        )


def exercise(context: Context) -> Iterator[Problem]:
    """The answers to exercise 1.6 of Deep Learning with PyTorch, from the files of this environment: the
    Python of the prompt, the version of torch, what `torch.cuda.is_available()` should say; and whether
    Jupyter runs the same Python and imports torch from the same place."""
    prefix = context.prefix
    torch = prefix.find("torch")
    if torch is None:
        return
    spec = next((s for s in prefix.kernelspecs if s.name == "python3"), None)
    program = _interpreter(spec) if spec else ""
    same = not program or _same(context, program)
    build = context.builds.get("torch")
    cuda = bool(build and build.cuda and context.gpu.devices)
    jupyter = prefix.find("jupyterlab") or prefix.find("notebook")
    answers = [
        Found(tr("1.1 Python at the prompt"), prefix.python_version, str(prefix.python or "")),
        Found(tr("1.2 torch"), build.version if build else torch.version, str(torch.site / "torch")),
        Found(
            tr("1.3 torch.cuda.is_available() should be {value} ({why})", value=cuda, why=_why_cuda(context))
        ),
    ]
    if jupyter is not None:
        answers += [
            Found(
                tr("2.1 Python of Jupyter"),
                prefix.python_version if same else "",
                program or str(prefix.python or ""),
            ),
            Found(
                tr("2.2 torch in Jupyter: the same place")
                if same
                else tr("2.2 torch in Jupyter: another place"),
                "",
                str(torch.site / "torch") if same else str(Path(program).parent.parent),
            ),
        ]
    yield Problem("info", tr("exercise 1.6, answered"), "exercise", tuple(answers))


def _why_cuda(context: Context) -> str:
    build = context.builds.get("torch")
    if build is None or build.cuda is None:
        return tr("the build is unknown")
    if not build.cuda:
        return tr("CPU build")
    if context.gpu.devices:
        return tr("CUDA {version} build", version=build.cuda)
    return tr("CUDA {version} build, no NVIDIA GPU seen", version=build.cuda)
