"""The mutants of a module: one small change of its syntax tree each.

Operators: a comparison gets the other boundary, the opposite and, for equality, an order; plus
and minus, times and divided by, and and or, min and max and the like are exchanged; a number
is one more or one less; a logical value, a `not` and a sign are turned; a condition is negated;
a `return` gives None; a statement that only calls or raises is left out. Left alone are
annotations, docstrings, decorators, `__all__`, `Final` names of types and the text of messages.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants", "mutated"]

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq, ast.LtE, ast.GtE), ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_SWAPS = (
    ("min", "max"), ("minimum", "maximum"), ("fmin", "fmax"), ("argmin", "argmax"),
    ("nanmin", "nanmax"), ("floor", "ceil"), ("any", "all"), ("sum", "mean"),
    ("nansum", "nanmean"), ("cdf", "sf"), ("left", "right"), ("cumsum", "cumprod"),
    ("union", "intersection"), ("append", "extend"), ("isfinite", "isnan"), ("zeros", "ones"),
    ("zeros_like", "ones_like"), ("log", "log1p"), ("exp", "expm1"), ("std", "var"),
)  # fmt: skip
_OTHER = {a: b for pair in _SWAPS for a, b in (pair, pair[::-1])}


@dataclass(frozen=True)
class Mutant:
    """One change.

    Parameters
    ----------
    node : int
        Number of the changed node in the order of `ast.walk`.
    line, column : int
        Where it is, from 1 and from 0.
    change : str
        What is changed, as ``old -> new``.
    edit : callable
        Makes the change in a node.
    function : int
        First line of the function that it is in, with its decorators; 0 in none: the code runs
        when the module is imported.
    """

    node: int
    line: int
    column: int
    change: str
    edit: Callable[[ast.AST], None]
    function: int


def mutants(source: str) -> Iterator[Mutant]:
    """Yield the mutants of a module's text, in the order of its lines."""
    tree = ast.parse(source)
    skipped = _left_alone(tree)
    # From outside inwards, so that the innermost function stays; what its decorators, defaults
    # and annotations do is not its body.
    function: dict[ast.AST, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            function |= {n: first for part in node.body for n in ast.walk(part)}
    out = []
    for number, node in enumerate(ast.walk(tree)):
        if node in skipped:
            continue
        for change, edit, at in _edits(node, skipped):
            out.append(
                Mutant(number, at.lineno, at.col_offset, change, edit, function.get(at, 0))  # type: ignore[attr-defined]
            )
    yield from sorted(out, key=lambda m: (m.line, m.column, m.node, m.change))


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """Return the syntax tree of the changed module."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        if number == mutant.node:
            mutant.edit(node)
            break
    return ast.fix_missing_locations(tree)


def _left_alone(tree: ast.Module) -> set[ast.AST]:
    """Return nodes that are not changed."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            roots += node.decorator_list
            if not isinstance(node, ast.ClassDef) and node.returns:
                roots.append(node.returns)
        elif isinstance(node, ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.JoinedStr):
            roots.append(node)
        elif isinstance(node, ast.Raise):
            roots += [part for part in (node.exc, node.cause) if part]
        elif (
            (isinstance(node, ast.Assign) and "__all__" in map(ast.unparse, node.targets))
            or (
                isinstance(node, ast.Subscript)
                and ast.unparse(node.value)
                in (
                    "Literal",
                    "npt.NDArray",
                )
            )
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ):
            roots.append(node)
    return {inner for root in roots for inner in ast.walk(root)}


def _edits(
    node: ast.AST, skipped: set[ast.AST]
) -> Iterator[tuple[str, Callable[[ast.AST], None], ast.AST]]:
    """Yield (change, edit, place) of a node."""
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            for new in _COMPARE[type(op)]:
                yield (*_put(node, "ops", new(), k), node)
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _BINARY:
        parts = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
        text = any(
            isinstance(p, ast.JoinedStr)
            or (isinstance(p, ast.Constant) and isinstance(p.value, str))
            for p in parts
        )
        if not text:
            yield (*_put(node, "op", _BINARY[type(node.op)]()), node)
    elif isinstance(node, ast.BoolOp):
        new_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield (*_put(node, "op", new_op), node)
    elif isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.USub):
            yield (*_put(node, "op", ast.UAdd()), node)
        else:  # twice is not at all
            yield (*_put(node, "operand", ast.UnaryOp(copy.deepcopy(node.op), node.operand)), node)
    elif isinstance(node, ast.Constant):
        yield from ((*_put(node, "value", new), node) for new in _other_values(node.value))
    elif isinstance(node, ast.Attribute | ast.Name):
        key = "attr" if isinstance(node, ast.Attribute) else "id"
        name = getattr(node, key)
        if name in _OTHER and isinstance(node.ctx, ast.Load):
            yield (*_put(node, key, _OTHER[name]), node)
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield (*_put(node, "value", ast.Constant(None)), node)
    elif (isinstance(node, ast.If | ast.IfExp | ast.While)
          and not isinstance(node.test, ast.Compare | ast.UnaryOp | ast.BoolOp)):  # fmt: skip
        yield (*_put(node, "test", ast.UnaryOp(ast.Not(), node.test)), node.test)
    elif isinstance(node, ast.comprehension):
        for k, test in enumerate(node.ifs):
            if not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp):
                yield (*_put(node, "ifs", ast.UnaryOp(ast.Not(), test), k), test)
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        for k, statement in enumerate(statements if isinstance(statements, list) else []):
            call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            if call or isinstance(statement, ast.Raise | ast.AugAssign | ast.Continue | ast.Break):
                yield (*_put(node, field, ast.Pass(), k), statement)


def _other_values(value: object) -> tuple[object, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value - 1)
    if isinstance(value, float):
        return (value + 1.0, value * 1.1) if value else (1.0, -1e-9)
    if isinstance(value, str) and value in ("left", "right"):
        return (_OTHER[value],)
    return ()


def _put(
    node: ast.AST, field: str, new: object, at: int | None = None
) -> tuple[str, Callable[[ast.AST], None]]:
    """Return the words and the edit that put a part of a node in place of another."""

    def edit(where: ast.AST) -> None:
        part = copy.deepcopy(new)
        if at is None:
            setattr(where, field, part)
        else:
            getattr(where, field)[at] = part

    old = getattr(node, field) if at is None else getattr(node, field)[at]
    return f"{_word(old)} -> {_word(new)}", edit


def _word(part: object) -> str:
    """Return a part of a tree in few words."""
    if isinstance(part, ast.cmpop | ast.operator | ast.boolop | ast.unaryop):
        return type(part).__name__
    text = ast.unparse(part) if isinstance(part, ast.AST) else repr(part)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
