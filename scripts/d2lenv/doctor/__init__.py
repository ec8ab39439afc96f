"""What is wrong with an environment, why, and what to type.

One module for each family of findings. A finding is a function whose docstring is the explanation that the
reader gets; its code stands in :data:`FINDINGS` and is never given to another finding.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TypeVar

from d2lenv.base import messages
from d2lenv.doctor import advice
from d2lenv.doctor import causes as grouping
from d2lenv.doctor.causes import Cause
from d2lenv.doctor.model import Check, Context, Finding, Problem
from d2lenv.doctor.rules import (
    d2l,
    drift,
    gpu,
    jupyter,
    machine,
    names,
    plan,
    requires,
    sources,
    versions,
)
from d2lenv.doctor.rules.loading import (
    absent,
    clashes,
    interpreter,
    libraries,
    numerics,
    records,
    surroundings,
)
from d2lenv.doctor.rules.plan import Plan

FINDINGS: tuple[tuple[str, Check], ...] = (
    ("D2L001", names.two_names),
    ("D2L002", names.torch_missing),
    ("D2L003", names.wrong_name),
    ("D2L004", names.half_removed),
    ("D2L005", names.leftovers),
    ("D2L006", names.python_gone),
    ("D2L007", names.not_an_environment),
    ("D2L008", interpreter.python_replaced),
    ("D2L009", interpreter.moved),
    ("D2L010", sources.mixed_sources),
    ("D2L011", sources.twice),
    ("D2L012", sources.pip_over_conda),
    ("D2L013", sources.user_site),
    ("D2L014", sources.pythonpath),
    ("D2L015", sources.two_openmp),
    ("D2L016", numerics.one_blas),
    ("D2L017", numerics.openmp_packages),
    ("D2L018", records.half_replaced),
    ("D2L019", records.two_owners),
    ("D2L020", versions.torchvision_pair),
    ("D2L021", versions.torchaudio_pair),
    ("D2L022", versions.python_for_torch),
    ("D2L023", versions.cpu_build),
    ("D2L024", versions.cuda_unwanted),
    ("D2L025", versions.builds_differ),
    ("D2L026", requires.cuda_wheels),
    ("D2L027", versions.numpy_major),
    ("D2L028", versions.mkl_symbol),
    ("D2L029", versions.jpeg_libraries),
    ("D2L030", versions.pkg_resources),
    ("D2L031", versions.compile_on_311),
    ("D2L032", versions.unknown_torch),
    ("D2L033", requires.requirements_unmet),
    ("D2L034", clashes.numpy_companions),
    ("D2L035", clashes.known_clash),
    ("D2L036", libraries.executable_stack),
    ("D2L037", surroundings.windows_libraries),
    ("D2L038", surroundings.library_path),
    ("D2L039", interpreter.configuration_gone),
    ("D2L040", d2l.edition),
    ("D2L041", d2l.pins),
    ("D2L042", d2l.python_without_wheels),
    ("D2L043", d2l.import_torch),
    ("D2L044", d2l.other_frameworks),
    ("D2L045", d2l.inline_and_matplotlib),
    ("D2L046", d2l.notebooks_of_the_other_edition),
    ("D2L047", absent.d2l_missing),
    ("D2L048", surroundings.own_files),
    ("D2L049", surroundings.python_home),
    ("D2L050", jupyter.kernel_gone),
    ("D2L051", jupyter.kernel_elsewhere),
    ("D2L052", jupyter.user_kernel_shadows),
    ("D2L053", jupyter.no_kernel),
    ("D2L054", jupyter.no_jupyter),
    ("D2L055", jupyter.jupyter_elsewhere),
    ("D2L056", jupyter.parts_do_not_fit),
    ("D2L057", jupyter.exercise),
    ("D2L058", jupyter.user_kernels_gone),
    ("D2L059", surroundings.plot_backend),
    ("D2L069", jupyter.kernel_unreadable),
    ("D2L060", gpu.no_gpu),
    ("D2L061", gpu.driver_failed),
    ("D2L062", gpu.driver_too_old),
    ("D2L063", gpu.architecture_missing),
    ("D2L064", gpu.architecture_unknown),
    ("D2L065", gpu.container_without_gpu),
    ("D2L066", gpu.hidden_by_variable),
    ("D2L067", gpu.little_memory),
    ("D2L068", gpu.apple_gpu),
    ("D2L070", machine.other_platform),
    ("D2L071", machine.rosetta),
    ("D2L072", machine.system_too_old),
    ("D2L073", machine.disk),
    ("D2L074", machine.mirror_without_nvidia),
    ("D2L075", machine.proxy),
    ("D2L076", machine.clock),
    ("D2L077", surroundings.certificates),
    ("D2L080", drift.lock_unreadable),
    ("D2L081", drift.missing),
    ("D2L082", drift.extra),
    ("D2L083", drift.other_version),
    ("D2L084", drift.other_build),
    ("D2L085", drift.other_source),
    ("D2L086", drift.d2l_files),
    ("D2L087", drift.beside_missing),
    ("D2L090", interpreter.own_environment),
    # Last: the findings above add what they could not read.
    ("D2L099", names.unreadable),
)
"""Stable code → finding of an environment."""

PLANNED: tuple[tuple[str, Callable[[Plan], Iterable[Problem]]], ...] = (
    ("D2L100", plan.plan_pins),
    ("D2L101", plan.plan_python),
    ("D2L102", plan.plan_pair),
    ("D2L103", plan.plan_conflict),
    ("D2L104", plan.plan_numpy),
    ("D2L105", plan.plan_inline),
    ("D2L106", plan.plan_unknown),
    ("D2L107", plan.plan_name),
    ("D2L108", plan.plan_platform),
    ("D2L109", plan.plan_gpu),
)
"""Stable code → finding of ``--plan``."""

_BY_VERSIONS = frozenset(
    {
        versions.torchvision_pair,
        versions.torchaudio_pair,
        versions.python_for_torch,
        clashes.known_clash,
        clashes.numpy_companions,
        versions.numpy_major,
        versions.mkl_symbol,
        versions.pkg_resources,
        requires.requirements_unmet,
        d2l.pins,
        d2l.inline_and_matplotlib,
        jupyter.no_kernel,
        jupyter.parts_do_not_fit,
    }
)
"""The findings that names and versions alone decide: what a command would change can be forecast by them."""

_Given = TypeVar("_Given", Context, Plan)


def explanation_key(check: Callable[..., object]) -> str:
    """The docstring as one line: what the catalogue has the translation of."""
    return " ".join(inspect.cleandoc(check.__doc__ or "").split())


def examine(context: Context) -> tuple[Finding, ...]:
    """All findings of the environment, the gravest first, with no command that would do harm."""
    return advice.sound(context, _run(FINDINGS, context), _of_versions)


def causes(context: Context, findings: Iterable[Finding]) -> tuple[Cause, ...]:
    """Group the errors and warnings by what causes them, each with what mends all of it."""
    return grouping.causes(findings, advice.acceptance(context, _of_versions))


def _of_versions(context: Context) -> tuple[Finding, ...]:
    return _run(tuple(row for row in FINDINGS if row[1] in _BY_VERSIONS), context)


def examine_plan(asked: Plan) -> tuple[Finding, ...]:
    """All findings of a planned installation."""
    return _run(PLANNED, asked)


def _run(
    table: tuple[tuple[str, Callable[[_Given], Iterable[Problem]]], ...], given: _Given
) -> tuple[Finding, ...]:
    found = [
        Finding(
            code=code,
            severity=problem.severity,
            title=problem.title,
            subject=problem.subject,
            found=problem.found,
            why=messages.tr(explanation_key(check)),
            fix=problem.fix,
        )
        for code, check in table
        for problem in check(given)
    ]
    return tuple(sorted(found, key=grouping.order))
