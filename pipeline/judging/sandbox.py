"""Where a judge's tools compute: a calculator that knows nothing but arithmetic, and Python in a locked process.

The process is a new interpreter without environment, site packages or open files. Before it runs the program, it
limits its own time, memory and output, and gives up, for good, every system call but those that computing needs
(seccomp): it can open no file, start no process, and reach no network, whatever the program does. Linux on x86-64 and
ARM64 only; elsewhere there is no Python for judges.
"""

import ast
import math
import operator
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

# --- Calculator -----------------------------------------------------------------------------------------------
MOST_BITS = 4096  # of a whole number on the way
DEEPEST = 50

OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
NAMES = {"pi": math.pi, "e": math.e, "tau": math.tau}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    name: vars(math)[name]
    for name in ("sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "floor", "ceil")
} | {"abs": abs, "round": round, "min": min, "max": max}


class CannotCompute(Exception):
    """An expression that the calculator does not take; the message says why."""


def calculate(text: str) -> str:
    """The value of one arithmetic expression, or a sentence that says why there is none."""
    try:
        return f"= {value_of(ast.parse(text.strip().replace('^', '**'), mode='eval').body)}"
    except (SyntaxError, RecursionError, MemoryError):
        return "This is not an arithmetic expression."
    except (CannotCompute, ArithmeticError, ValueError, TypeError) as error:
        return f"This cannot be worked out: {error}."


def value_of(node: ast.AST, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise CannotCompute("it is nested too deep")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return small(node.value)
    if isinstance(node, ast.Name) and node.id in NAMES:
        return NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value_of(node.operand, depth + 1))
    if isinstance(node, ast.BinOp):
        left, right = value_of(node.left, depth + 1), value_of(node.right, depth + 1)
        if isinstance(node.op, ast.Pow):
            return power(left, right)
        if type(node.op) in OPERATORS:
            return small(OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return called(node.func.id, [value_of(each, depth + 1) for each in node.args])
    raise CannotCompute("it holds something that is no arithmetic")


def called(name: str, values: list[Any]) -> Any:
    if name not in FUNCTIONS:
        raise CannotCompute(f"it calls {name!r:.40}, which is no function here")
    return small(FUNCTIONS[name](*values))


def power(base: Any, exponent: Any) -> Any:
    """base ** exponent, unless that is a very long number."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > MOST_BITS:
        raise CannotCompute("the number is too long")
    result = base**exponent
    if isinstance(result, complex):
        raise CannotCompute("the result is no real number")
    return small(result)


def small(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise CannotCompute("the number is too long")
    return value


# --- Python ---------------------------------------------------------------------------------------------------
SECONDS = 5  # of the clock; CPU below
NOT_LOCKED = 97  # exit code: the process could not lock itself, and has run nothing

BOOT = r"""
import ctypes, platform, resource, struct, sys
import bisect, collections, datetime, decimal, fractions, functools, heapq, itertools, json, math, operator, random, re
import statistics, string, textwrap

source = sys.stdin.read()
MACHINES = {
    "x86_64": (0xC000003E, (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 25, 28, 39, 60, 96, 131, 202, 228, 230,
                            231, 318)),
    "aarch64": (0xC00000B7, (63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 216, 233, 172, 93, 169, 132,
                             98, 113, 115, 94, 278)),
}
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM


def lock():
    machine = MACHINES.get(platform.machine())
    if machine is None or not sys.platform.startswith("linux"):
        return False
    arch, calls = machine
    rows = [(0x20, 0, 0, 4), (0x15, 1, 0, arch), (0x06, 0, 0, REFUSE), (0x20, 0, 0, 0)]
    for place, number in enumerate(calls):
        rows.append((0x15, len(calls) - place, 0, number))
    rows += [(0x06, 0, 0, REFUSE), (0x06, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))

    class Program(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("rows", ctypes.c_void_p)]

    program = Program(len(rows), ctypes.cast(code, ctypes.c_void_p))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    return prctl(38, 1, None, 0, 0) == 0 and prctl(22, 2, ctypes.byref(program), 0, 0) == 0


for name, most in (("CPU", 2), ("AS", 512 * 2**20), ("FSIZE", 65536), ("NOFILE", 8), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
if not lock():
    sys.exit(97)
del ctypes, lock, platform, resource, struct
exec(compile(source, "program", "exec"), {"__name__": "__main__"})
"""


def run_python(program: str) -> str:
    """What a program prints, or how it ended. The process is gone when this returns."""
    with tempfile.TemporaryFile() as out:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-B", "-c", BOOT],
                input=program.encode("utf-8", "replace"),
                stdout=out,
                stderr=subprocess.STDOUT,
                env={},
                cwd="/",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"The program did not end within {SECONDS} seconds."
        out.seek(0)
        printed = out.read().decode("utf-8", "replace").strip()
    if done.returncode == NOT_LOCKED:
        return "Python cannot be locked away on this machine, so nothing was run."
    if done.returncode < 0:
        return f"{printed}\nThe program was stopped: it used too much time, memory or output.".strip()
    return printed or "The program printed nothing."


@cache
def can_run_python() -> bool:
    """Can this machine lock a process away? Runs one that prints a number, once."""
    return run_python("print(6 * 7)") == "42"
