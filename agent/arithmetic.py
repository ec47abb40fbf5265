"""Sums, worked out exactly and within bounds, whatever a model or a person puts into the expression."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from simpleeval import InvalidExpression, SimpleEval  # type: ignore[import-untyped]

MAX_CHARACTERS = 200
MAX_BITS = 1024
"""No number on the way may be longer: 300 digits are more than anyone listens to, and cost microseconds."""

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|percent\b)(?!\s*[\d(])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$))")
_SIGNS = {"\N{MULTIPLICATION SIGN}": "*", "÷": "/", "\N{MINUS SIGN}": "-", "^": "**", "√": "sqrt"}


class NoSum(ValueError):
    """The expression is not a sum that can be worked out. The message says why, in a sentence fit to be spoken."""


def evaluate(expression: str) -> str:
    """Work out `expression` and write the result as people do: no exponent, at most 12 significant digits.

    Raises:
        NoSum: not an arithmetic expression, too long, too large, or undefined.
    """
    if len(expression) > MAX_CHARACTERS:
        raise NoSum("That expression is too long.")
    try:
        # One expression only: the evaluator by itself would silently drop what follows a line break.
        parsed = ast.parse(_as_python(expression), mode="eval").body
        value = _evaluator().eval(expression, previously_parsed=parsed)
    except NoSum:
        raise
    except ZeroDivisionError:
        raise NoSum("Dividing by zero has no result.") from None
    except (InvalidExpression, SyntaxError, TypeError, ValueError, ArithmeticError, RecursionError, MemoryError):
        raise NoSum(f"{expression} is not a sum I can work out.") from None
    return _written(value)


def _as_python(expression: str) -> str:
    text = expression.strip().rstrip("=?. ")
    for sign, python in _SIGNS.items():
        text = text.replace(sign, python)
    text = _THOUSANDS.sub("", text)
    text = _PERCENT.sub(r"(\1/100)", text)
    text = re.sub(r"\)\s*of\b", ")*", text)
    return re.sub(r"(?<=\d)\s*[xX]\s*(?=\d)", "*", text)


def _bounded(value: Any) -> Any:
    """Refuse what is no number, and numbers nobody could listen to.

    Raises:
        NoSum: complex, boolean, not finite, or longer than MAX_BITS.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NoSum("That sum has no real number as its result.")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise NoSum("That number is too large.")
    if isinstance(value, float) and not math.isfinite(value):
        raise NoSum("That number is too large.")
    return value


def _power(base: Any, exponent: Any) -> Any:
    base, exponent = _bounded(base), _bounded(exponent)
    if abs(base) > 1 and exponent * math.log2(abs(base)) > MAX_BITS:
        raise NoSum("That number is too large.")
    return _bounded(base**exponent)


def _factorial(number: Any) -> int:
    if not isinstance(number, int) or not 0 <= number <= 150:
        raise NoSum("I work out factorials of whole numbers up to one hundred and fifty.")
    return math.factorial(number)


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: _bounded(function(*map(_bounded, values)))


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _checked(operator.add),
    ast.Sub: _checked(operator.sub),
    ast.Mult: _checked(operator.mul),
    ast.Div: _checked(operator.truediv),
    ast.FloorDiv: _checked(operator.floordiv),
    ast.Mod: _checked(operator.mod),
    ast.Pow: _power,
    ast.USub: _checked(operator.neg),
    ast.UAdd: _checked(operator.pos),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": _checked(math.sqrt),
    "round": _checked(round),
    "abs": _checked(abs),
    "min": _checked(min),
    "max": _checked(max),
    "floor": _checked(math.floor),
    "ceil": _checked(math.ceil),
    "log": _checked(math.log),
    "log10": _checked(math.log10),
    "sin": _checked(math.sin),
    "cos": _checked(math.cos),
    "tan": _checked(math.tan),
    "radians": _checked(math.radians),
    "factorial": _factorial,
}


_NODES = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Call, ast.Name)


def _evaluator() -> SimpleEval:
    evaluator = SimpleEval(operators=_OPERATORS, functions=_FUNCTIONS, names={"pi": math.pi, "e": math.e})
    evaluator.nodes = {kind: evaluator.nodes[kind] for kind in _NODES}
    return evaluator


def _written(value: Any) -> str:
    number = _bounded(value)
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e15:
        number = int(number)
    if isinstance(number, int):
        return str(number)
    text = f"{number:.12g}"
    return (
        text
        if "e" not in text
        else f"{number:.3e}".replace("e+", " times 10 to the power of ").replace(
            "e-", " times 10 to the power of minus "
        )
    )
