"""The determinism lint: what contract sources may not contain, judged by syntax alone.

Every validator must compute the same from the same input, on any machine and in any year. So: only
the imports listed here, no floats and no true division, no order that comes from a set, no clock,
no chance, no identity of objects, no mutable globals, and no handler wide enough to swallow a
failure that another machine does not have. Run over all contracts by tests, and by a node over
what it loads. It does not prove determinism; it keeps honest authors from slipping.
"""

from __future__ import annotations

import ast

# Whole packages by their first name; all are free of clock, chance and I/O as contracts use them.
IMPORTS_ALLOWED = (
    "__future__",
    "ast",
    "bisect",
    "collections",
    "contracts",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "msgspec",
    "pydantic",
    "types",
    "typing",
)
NAMES_BANNED = (
    "__import__",
    "breakpoint",
    "compile",
    "complex",
    "delattr",
    "dir",
    "eval",
    "exec",
    "float",
    "globals",
    "hash",
    "id",
    "input",
    "locals",
    "memoryview",
    "open",
    "print",
    "round",
    "setattr",
    "vars",
)
# Names of things that an innocent import may still lead to.
ATTRIBUTES_BANNED = (
    "as_integer_ratio",
    "monotonic",
    "now",
    "perf_counter",
    "popitem",
    "random",
    "system",
    "time_ns",
    "today_utc",
    "urandom",
    "utcnow",
    "uuid4",
)
DUNDERS_ALLOWED = (
    "__doc__",
    "__init__",
    "__name__",
    "__post_init__",
    "__struct_defaults__",
    "__struct_fields__",
)
FLOATS = ("float", "complex")
SETS = ("set", "frozenset")
SET_TYPES = (*SETS, "Set", "AbstractSet", "FrozenSet")
SET_METHODS = ("union", "intersection", "difference", "symmetric_difference")
# What takes an iterable and keeps, or depends on, its order.
ORDERED = ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "next")
TOO_WIDE = ("Exception", "BaseException")
MUTATORS = (
    "add",
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "remove",
    "setdefault",
    "update",
)
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def lint(source: str, filename: str) -> list[str]:
    """Findings as `file:line: what is wrong`, in order of lines; empty if all is well."""
    try:
        tree = ast.parse(source, filename)
    except (SyntaxError, ValueError):
        return [f"{filename}:1: not valid Python"]
    visitor = _Visitor()
    visitor.visit(tree)
    return [f"{filename}:{line}: {text}" for line, text in sorted(visitor.findings)]


class _Visitor(ast.NodeVisitor):
    """One walk over one module. Names bound to sets are tracked per function, roughly."""

    def __init__(self) -> None:
        self.findings: list[tuple[int, str]] = []
        self._set_names: list[dict[str, None]] = [{}]
        self._module_containers: dict[str, None] = {}

    def _find(self, node: ast.AST, text: str) -> None:
        self.findings.append((getattr(node, "lineno", 1), text))

    # ---- imports

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self._check_import(node, name.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            self._find(node, "relative import")
        self._check_import(node, node.module or "")
        for name in node.names:
            if name.name == "*":
                self._find(node, "import of everything")

    def _check_import(self, node: ast.AST, module: str) -> None:
        if module.partition(".")[0] not in IMPORTS_ALLOWED:
            self._find(node, f"import of {module}")

    # ---- numbers

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value).__name__ in FLOATS:
            self._find(node, "float literal")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._check_operator(node, node.op, node.right)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._check_operator(node, node.op, node.value)
        self.generic_visit(node)

    def _check_operator(self, node: ast.AST, operator: ast.operator, right: ast.expr) -> None:
        if isinstance(operator, ast.Div):
            self._find(node, "true division; use // and say which way it rounds")
        if isinstance(operator, ast.Pow) and not (
            isinstance(right, ast.Constant) and isinstance(right.value, int)
        ):
            self._find(node, "power with an exponent that may be negative or huge")

    # ---- names

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in NAMES_BANNED and isinstance(node.ctx, ast.Load):
            self._find(node, f"use of {node.id}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in ATTRIBUTES_BANNED:
            self._find(node, f"use of .{node.attr}")
        if node.attr.startswith("__") and node.attr not in DUNDERS_ALLOWED:
            self._find(node, f"use of .{node.attr}")
        self.generic_visit(node)

    # ---- hidden state and control flow

    def visit_Global(self, node: ast.Global) -> None:
        self._find(node, "global state")

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._find(node, "state in a closure")

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._find(node, "async function")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for one in caught:
            if one is None or (isinstance(one, ast.Name) and one.id in TOO_WIDE):
                self._find(node, "handler that catches everything")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if isinstance(default, MUTABLE):
                self._find(default, "mutable default")
        self._set_names.append({})
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            if _names_a_set(argument.annotation):
                self._set_names[-1][argument.arg] = None
        self.generic_visit(node)
        self._set_names.pop()

    # ---- order

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._note(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._note(node.target, node.value)
        if isinstance(node.target, ast.Name) and _names_a_set(node.annotation):
            self._set_names[-1][node.target.id] = None
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._check_order(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._check_order(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._check_order(node.value)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._check_order(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func
        takes_order = (isinstance(name, ast.Name) and name.id in ORDERED) or (
            isinstance(name, ast.Attribute) and name.attr in ("join", "extend", "fromkeys")
        )
        if takes_order:
            for argument in node.args:
                self._check_order(argument)
        if isinstance(name, ast.Attribute) and name.attr == "pop" and self._is_set(name.value):
            self._find(node, "element of a set, in no order")
        if isinstance(name, ast.Attribute) and name.attr in MUTATORS:
            self._check_container(name.value)
        self.generic_visit(node)

    def _check_order(self, node: ast.expr) -> None:
        if self._is_set(node):
            self._find(node, "iteration over a set, which has no order; sort it")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._check_container(node.value)
        self.generic_visit(node)

    def _check_container(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name) and node.id in self._module_containers:
            self._find(node, f"{node.id} of the module is changed: state outside the state")

    def _note(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            at_module = len(self._set_names) == 1
            if at_module and isinstance(value, MUTABLE):
                self._module_containers[target.id] = None
            if self._is_set(value):
                self._set_names[-1][target.id] = None
            else:
                self._set_names[-1].pop(target.id, None)

    def _is_set(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Name):
            return any(node.id in names for names in self._set_names)
        if isinstance(node, ast.BinOp):
            combines = isinstance(node.op, ast.BitOr | ast.BitAnd | ast.BitXor | ast.Sub)
            return combines and (self._is_set(node.left) or self._is_set(node.right))
        if isinstance(node, ast.IfExp):
            return self._is_set(node.body) or self._is_set(node.orelse)
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                return called.id in SETS
            return isinstance(called, ast.Attribute) and called.attr in SET_METHODS
        return False


def _names_a_set(annotation: ast.expr | None) -> bool:
    """Whether an annotation such as `set[str]` says that this is a set."""
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    return isinstance(annotation, ast.Name) and annotation.id in SET_TYPES
