"""Parses JSON as providers send it: text that people typed, with unusual values."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_DIGITS = re.compile(rb"\d+")
_DIGITS_TO_ZERO = bytes(ord("0") if byte in b"0123456789" else byte for byte in range(256))
_NINETEEN_DIGITS = b"0" * 19


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text.

    orjson refuses lone surrogates and deep nesting, and rounds integers beyond 64 bits, so the
    standard library then parses the text again. A lone surrogate (half a character) becomes U+FFFD,
    because no encoding could carry it to a destination. If a key is repeated, the last one counts.

    Raises ValueError if the text is incomplete, is nested too deeply, or has NaN or a number beyond
    all floating-point numbers.
    """
    if not _has_huge_integer(content):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    try:
        value = json.loads(content, parse_float=_finite, parse_constant=_finite)
        return _with_whole_characters(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _has_huge_integer(content: bytes) -> bool:
    """Return whether a number may exceed 64 bits: nineteen digits in a row, as a JSON number.

    Identifiers have as many digits, so the characters around them are checked. A regular expression
    over the whole text takes twenty times as long as parsing it.
    """
    zeros = content.translate(_DIGITS_TO_ZERO)
    at = zeros.find(_NINETEEN_DIGITS)
    while at >= 0:
        begin = at - 1 if content[at - 1 : at] == b"-" else at
        digits = _DIGITS.match(content, at)
        assert digits is not None  # at least nineteen
        end = digits.end()
        if content[begin - 1 : begin] in b"[:, \t\r\n" and content[end : end + 1] in b"]}, \t\r\n":
            return True
        at = zeros.find(_NINETEEN_DIGITS, end)
    return False


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that cannot be stored")
    return number


def _with_whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return _HALF_CHARACTER.sub("\ufffd", value)
    if isinstance(value, list):
        return [_with_whole_characters(one) for one in value]
    if isinstance(value, dict):
        return {_with_whole_characters(key): _with_whole_characters(value[key]) for key in value}
    return value
