"""Quality cuts as people write them, ``(FLAGS & 4) == 0 and CLASS_STAR < 0.5``, on columns of any type.

Python's own grammar with its precedence, of which only comparisons, arithmetic, bits, ``and``, ``or``, ``not``, ``in``
and the functions below are taken: no name but a column's, no call of anything else. Evaluated by Arrow, so that whole
numbers of 64 bits compare exactly and what is missing stays missing: a comparison with it is neither true nor false,
and a row that does not meet its condition for certain is left out. NaN compares as in Python: not equal to anything,
above and below nothing.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from photoz.errors import ConfigError

# Not Arrow's checked ones, which raise at the first row below 0: its logarithm is NaN, which meets no cut.
_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "abs": pc.abs,
    "log10": pc.log10,
    "sqrt": pc.sqrt,
    "isnan": pc.is_nan,
    "isfinite": pc.is_finite,
    "isnull": pc.is_null,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    ast.Pow: pc.power,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
# Of whole numbers, and of conditions: people write & between conditions, too, as NumPy wants it.
_BITS: Mapping[type[ast.operator], tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any] | None]] = {
    ast.BitAnd: (pc.bit_wise_and, pc.and_kleene),
    ast.BitOr: (pc.bit_wise_or, pc.or_kleene),
    ast.BitXor: (pc.bit_wise_xor, pc.xor),
    ast.LShift: (pc.shift_left, None),
    ast.RShift: (pc.shift_right, None),
}
_QUOTED = re.compile(r"`([^`]*)`")
_GRAMMAR = (
    "a cut may hold columns (in backquotes where a name has other characters than letters, digits and _), numbers, "
    f"text, comparisons, in [...], and, or, not, + - * / **, the bits & | ^ ~ << >>, and {', '.join(_FUNCTIONS)}"
)


@dataclass(frozen=True)
class ParsedCut:
    """A cut that was read and not yet applied.

    Parameters
    ----------
    text : str
    columns : tuple of str
        That it asks for, in the order in which they stand.
    """

    text: str
    columns: tuple[str, ...]


def parse_cut(text: str) -> ParsedCut:
    """Read a cut and find the columns that it asks for.

    Raises
    ------
    ConfigError
        It is no condition, or holds something else than is allowed.

    Examples
    --------
    >>> parse_cut("(FLAGS & 4) == 0 and abs(dec) < 30").columns
    ('FLAGS', 'dec')
    """
    tree, names = _parse(text)
    # A function's name is a Name, too.
    functions = {call.func for call in ast.walk(tree) if isinstance(call, ast.Call)}
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in functions]
    # `walk` goes level by level, and people read from left to right.
    named.sort(key=lambda node: node.col_offset)
    found = dict.fromkeys(names.get(node.id, node.id) for node in named)
    if not found:
        raise ConfigError(f"the cut {text!r} asks for no column: {_GRAMMAR}")
    return ParsedCut(text, tuple(found))


def apply_cut(text: str, columns: Mapping[str, Any]) -> pa.Array:
    """Tell which rows meet a cut.

    Parameters
    ----------
    text : str
    columns : mapping of str to pyarrow.Array

    Returns
    -------
    pyarrow.BooleanArray
        Without nulls: false where a missing value leaves it open.

    Raises
    ------
    ConfigError
        As `parse_cut`; or columns are of types that what it asks for does not take.
    """
    tree, names = _parse(text)
    try:
        kept = _Evaluation({name: _widen(column) for name, column in columns.items()}, names, text).visit(tree)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        kinds = ", ".join(f"{name} {column.type}" for name, column in columns.items())
        raise ConfigError(f"the cut {text!r} cannot be applied to {kinds}: {error}") from error
    if not isinstance(kept, pa.Array | pa.ChunkedArray) or not pa.types.is_boolean(kept.type):
        raise ConfigError(
            f"the cut {text!r} is no condition, which is true or false of each row: compare it with something"
        )
    return pc.fill_null(kept.combine_chunks() if isinstance(kept, pa.ChunkedArray) else kept, False)


# A cut is asked for with every batch, and a survey has a few.
@lru_cache(maxsize=256)
def _parse(text: str) -> tuple[ast.expr, dict[str, str]]:
    names: dict[str, str] = {}

    def hide(found: re.Match[str]) -> str:
        # What stands in backquotes may be no name to Python, such as 1st or a-b, and so goes in under one that is.
        name = f"_column_{len(names)}_"
        names[name] = found[1]
        return name

    try:
        # Stripped, since blanks before an expression are an indent to Python.
        tree = ast.parse(_QUOTED.sub(hide, text.strip()), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"the cut {text!r} cannot be read ({error}): {_GRAMMAR}") from error
    # All of it before anything is evaluated: `_Evaluation` knows no other nodes, and a survey's file may be a
    # stranger's.
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or not _is_allowed(node):
            raise ConfigError(f"the cut {text!r} holds {ast.unparse(node)!r}, which is not allowed: {_GRAMMAR}")
    return tree, names


_ALLOWED = (
    ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Call,
    ast.Load, ast.And, ast.Or, ast.Not, ast.USub, ast.UAdd, ast.Invert, ast.In, ast.NotIn, ast.Div,
    *_ARITHMETIC, *_COMPARISONS, *_BITS,
)  # fmt: skip


def _is_allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        # None is not among them: compared with it every row would be missing and left out, where `isnull` is meant.
        if isinstance(node.value, int):
            # Arrow's numbers have 64 bits, with a sign or without.
            return node.value < 2**64
        return isinstance(node.value, float | str)
    if isinstance(node, ast.Call):
        known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        # Each of the functions takes one column; a second one would be passed over without a word.
        return known and len(node.args) == 1 and not node.keywords
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        # UnaryOp for negative numbers: to Python's grammar -1 is a sign and a 1.
        return all(isinstance(item, ast.Constant | ast.UnaryOp) for item in node.elts)
    return True


def _widen(column: Any) -> Any:
    """Bring small integers to 64 bits, in which sums do not run over; dictionaries to their values."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Those of uint64 do not fit int64; `_match_signs` compares them as they are.
    small = pa.types.is_integer(column.type) and column.type != pa.uint64()
    return column.cast(pa.int64()) if small else column


def _match_signs(left: Any, right: Any) -> tuple[Any, Any]:
    """Give a number that was written out no sign where the column beside it has none: Arrow would give both one."""
    pairs = []
    for value, other in ((left, right), (right, left)):
        unsigned = isinstance(value, pa.Int64Scalar) and other.type == pa.uint64() and value.as_py() >= 0
        pairs.append(value.cast(pa.uint64()) if unsigned else value)
    return pairs[0], pairs[1]


class _Evaluation:
    """Evaluates an expression that was checked; columns are looked up, all else is Arrow's."""

    def __init__(self, columns: Mapping[str, Any], names: Mapping[str, str], text: str) -> None:
        self._columns, self._names, self._text = columns, names, text

    def visit(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            # Arrow takes a number for one with a sign, which has no room for the largest.
            unsigned = isinstance(node.value, int) and node.value >= 2**63
            return pa.scalar(node.value, pa.uint64() if unsigned else None)
        if isinstance(node, ast.Name):
            name = self._names.get(node.id, node.id)
            if name not in self._columns:
                raise ConfigError(f"the cut {self._text!r} asks for the column {name!r}, which is not there")
            return self._columns[name]
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            return _FUNCTIONS[node.func.id](self.visit(node.args[0]))
        if isinstance(node, ast.BoolOp):
            # Kleene's logic: false and missing is false, where Arrow's plain `and_` would make it missing.
            join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            return reduce(join, (self._visit_condition(value) for value in node.values))
        if isinstance(node, ast.UnaryOp):
            return self._visit_unary(node)
        if isinstance(node, ast.BinOp):
            return self._visit_binary(node)
        if not isinstance(node, ast.Compare):
            raise ConfigError(
                f"the cut {self._text!r} has {ast.unparse(node)!r} alone: write column in {ast.unparse(node)}"
            )
        return self._visit_comparison(node)

    def _visit_condition(self, node: ast.expr) -> Any:
        value = self.visit(node)
        if not pa.types.is_boolean(value.type):
            raise ConfigError(
                f"the cut {self._text!r} takes {ast.unparse(node)!r} for a condition, which it is not: compare it with "
                "something"
            )
        return value

    def _visit_unary(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return pc.invert(self._visit_condition(node.operand))
        value = self.visit(node.operand)
        if isinstance(node.op, ast.UAdd):
            return value
        if isinstance(node.op, ast.USub):
            return pc.negate(value)
        # Of conditions ~ is `not`, as people who know NumPy write it.
        return pc.invert(value) if pa.types.is_boolean(value.type) else pc.bit_wise_not(value)

    def _visit_binary(self, node: ast.BinOp) -> Any:
        left, right = _match_signs(self.visit(node.left), self.visit(node.right))
        if isinstance(node.op, ast.Div):
            # As in Python: whole numbers divide to fractions.
            return pc.divide(left.cast(pa.float64()), right.cast(pa.float64()))
        if type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](left, right)
        of_bits, of_conditions = _BITS[type(node.op)]
        if of_conditions and pa.types.is_boolean(left.type) and pa.types.is_boolean(right.type):
            return of_conditions(left, right)
        return of_bits(left, right)

    def _visit_comparison(self, node: ast.Compare) -> Any:
        # 0 < x < 1 is 0 < x and x < 1.
        left, found = self.visit(node.left), []
        for kind, item in zip(node.ops, node.comparators, strict=True):
            if isinstance(kind, ast.In | ast.NotIn):
                is_in = self._find_in(left, item)
                found.append(is_in if isinstance(kind, ast.In) else pc.invert(is_in))
                continue
            right = self.visit(item)
            found.append(_COMPARISONS[type(kind)](*_match_signs(left, right)))
            left = right
        return reduce(pc.and_kleene, found)

    def _find_in(self, left: Any, item: ast.expr) -> Any:
        if not isinstance(item, ast.List | ast.Tuple | ast.Set):
            raise ConfigError(f"the cut {self._text!r}: write what follows in as a list, [1, 2]")
        # Not the nodes' own values: a negative number is an expression that has none.
        values = pa.array([ast.literal_eval(value) for value in item.elts])
        # To floats where the column is of floats: [1, 2] alone is whole numbers, to which 1.5 has no cast.
        kind = left.type if pa.types.is_floating(left.type) else values.type
        is_in = pc.is_in(left.cast(kind), values.cast(kind))
        # Of what is missing it says no, and `not in` would say yes.
        return pc.if_else(pc.is_null(left), pa.scalar(None, pa.bool_()), is_in)
