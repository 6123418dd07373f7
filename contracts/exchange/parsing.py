"""The parsing unit: a person's raw request becomes a structured one, or `BAD_REQUEST`.

Strict JSON of at most 4 KiB, read here and not by a library, so that every node and every version
of Python says the same: one object, no key twice, no field that is not known, no fraction and no
exponent, text and whole numbers only. Amounts are decimal strings.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from contracts.exchange.models import (
    EXCHANGE,
    PURCHASE,
)
from contracts.kernel.types import AMOUNT_MAX, CODE_CHARS_MAX, reject

REQUEST_BYTES_MAX = 4_096
DEPTH_MAX = 4
DETAILS_CHARS_MAX = 512
PUBLIC_KEY_BYTES = 33

Json = str | int | bool | None | dict[str, "Json"]

_SPACE = " \t\n\r"
_DIGITS = "0123456789"
_HEX = "0123456789abcdefABCDEF"
_ESCAPES = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_WORDS: dict[str, Json] = {"true": True, "false": False, "null": None}


class Wanted(NamedTuple):
    """What a person wants: a product, some of it paid from the own wallet, or an exchange.

    `reader` is the key that the product is to be sealed to, empty for the person's own;
    `details` are for the peripheral. `offered` units of `source` are to become `target`.
    """

    kind: str
    product: str
    quantity: int
    own: int
    source: str
    target: str
    offered: int
    reader: bytes
    details: str


def parse_request(raw: str) -> Wanted:
    """The structured request; rejects with `BAD_REQUEST` and says why."""
    try:
        size = len(raw.encode())
    except UnicodeEncodeError:
        _refuse("not text")
    if size > REQUEST_BYTES_MAX:
        _refuse(f"longer than {REQUEST_BYTES_MAX} bytes")
    fields = parse_json(raw)
    if not isinstance(fields, dict):
        _refuse("not an object")
    if "exchange" in fields:
        return _exchange(fields)
    if "product" in fields:
        return _purchase(fields)
    _refuse("names neither a product nor an exchange")


def parse_json(text: str) -> Json:
    """The value of a strict JSON text; rejects with `BAD_REQUEST`."""
    scanner = _Scanner(text)
    value = scanner.value(0)
    scanner.skip_space()
    if scanner.at < len(text):
        _refuse("something follows the object")
    return value


def _refuse(why: str, **details: str) -> NoReturn:
    reject("BAD_REQUEST", why=why, **details)


# ---- what the fields mean


def _purchase(fields: dict[str, Json]) -> Wanted:
    _only(fields, ("product", "quantity", "own", "user"))
    user = _object(fields, "user")
    _only(user, ("reader", "details"))
    details = user.get("details", "")
    if not isinstance(details, str) or len(details) > DETAILS_CHARS_MAX:
        _refuse(f"not a text of up to {DETAILS_CHARS_MAX} characters", field="details")
    return Wanted(
        kind=PURCHASE,
        product=_code(fields, "product"),
        quantity=_amount(fields, "quantity", least=1, default=1),
        own=_amount(fields, "own", least=0, default=0),
        source="",
        target="",
        offered=0,
        reader=_key(user, "reader"),
        details=details,
    )


def _exchange(fields: dict[str, Json]) -> Wanted:
    _only(fields, ("exchange",))
    wish = _object(fields, "exchange")
    _only(wish, ("from", "to", "amt"))
    source, target = _code(wish, "from"), _code(wish, "to")
    if source == target:
        _refuse("from and to are the same asset", field="to")
    return Wanted(
        kind=EXCHANGE,
        product="",
        quantity=1,
        own=0,
        source=source,
        target=target,
        offered=_amount(wish, "amt", least=1, default=None),
        reader=b"",
        details="",
    )


def _only(fields: dict[str, Json], known: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            _refuse("unknown field", field=name[:CODE_CHARS_MAX])


def _object(fields: dict[str, Json], name: str) -> dict[str, Json]:
    value = fields.get(name, {})
    if not isinstance(value, dict):
        _refuse("not an object", field=name)
    return value


def _code(fields: dict[str, Json], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= CODE_CHARS_MAX or "\0" in value:
        _refuse(f"not a code of 1 to {CODE_CHARS_MAX} characters", field=name)
    return value


def _amount(fields: dict[str, Json], name: str, least: int, default: int | None) -> int:
    value = fields.get(name)
    if name not in fields and default is not None:
        return default
    digits = value if isinstance(value, str) else ""
    plain = 0 < len(digits) <= len(str(AMOUNT_MAX)) and all(one in _DIGITS for one in digits)
    if not plain or (digits[0] == "0" and digits != "0"):
        _refuse("not an amount, which is a decimal string", field=name)
    if not least <= int(digits) <= AMOUNT_MAX:
        _refuse("out of range", field=name)
    return int(digits)


def _key(fields: dict[str, Json], name: str) -> bytes:
    value = fields.get(name, "")
    if value == "":
        return b""
    good = isinstance(value, str) and len(value) == 2 * PUBLIC_KEY_BYTES
    if not isinstance(value, str) or not good or not all(one in _HEX for one in value):
        _refuse("not a public key in hex", field=name)
    key = bytes.fromhex(value)
    if key[0] not in (2, 3):
        _refuse("not a public key in hex", field=name)
    return key


# ---- JSON


class _Scanner:
    """Reads one JSON text from left to right; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def value(self, depth: int) -> Json:
        """One value; objects nest up to `DEPTH_MAX`."""
        self.skip_space()
        first = self._peek()
        if not first:
            _refuse("cut short")
        if first == "{":
            if depth >= DEPTH_MAX:
                _refuse("nested too deeply")
            return self._object(depth)
        if first == '"':
            return self._string()
        if first == "-" or first in _DIGITS:
            return self._number()
        for word, meaning in _WORDS.items():
            if self._text.startswith(word, self.at):
                self.at += len(word)
                return meaning
        _refuse("lists are not used here" if first == "[" else "not JSON")

    def skip_space(self) -> None:
        """Go to the next character that says something."""
        while self.at < len(self._text) and self._text[self.at] in _SPACE:
            self.at += 1

    def _object(self, depth: int) -> dict[str, Json]:
        fields: dict[str, Json] = {}
        self._take("{")
        self.skip_space()
        if self._peek() == "}":
            self._take("}")
            return fields
        while True:
            self.skip_space()
            name = self._string()
            if name in fields:
                _refuse("the same key twice", field=name[:CODE_CHARS_MAX])
            self.skip_space()
            self._take(":")
            fields[name] = self.value(depth + 1)
            self.skip_space()
            if self._peek() == "}":
                self._take("}")
                return fields
            self._take(",")

    def _string(self) -> str:
        self._take('"')
        parts: list[str] = []
        while (one := self._next()) != '"':
            if one < " ":
                _refuse("a control character in a text")
            parts.append(self._escaped() if one == "\\" else one)
        return "".join(parts)

    def _escaped(self) -> str:
        one = self._next()
        if one != "u":
            if one not in _ESCAPES:
                _refuse("not JSON")
            return _ESCAPES[one]
        unit = self._four_digits()
        if 0xDC00 <= unit < 0xE000:
            _refuse("half a character")
        if not 0xD800 <= unit < 0xDC00:
            return chr(unit)
        self._take("\\")
        self._take("u")
        low = self._four_digits()
        if not 0xDC00 <= low < 0xE000:
            _refuse("half a character")
        return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))

    def _four_digits(self) -> int:
        digits = self._text[self.at : self.at + 4]
        if len(digits) < 4 or not all(one in _HEX for one in digits):
            _refuse("not JSON")
        self.at += 4
        return int(digits, 16)

    def _number(self) -> int:
        start = self.at
        if self._peek() == "-":
            self.at += 1
        first = self.at
        while self._peek() and self._peek() in _DIGITS:
            self.at += 1
        if self._peek() in (".", "e", "E"):
            _refuse("fractions are not used here; amounts are decimal strings")
        digits = self._text[first : self.at]
        if not digits or (digits[0] == "0" and len(digits) > 1):
            _refuse("not JSON")
        if len(digits) > len(str(AMOUNT_MAX)):
            _refuse("out of range")
        return int(self._text[start : self.at])

    def _peek(self) -> str:
        return self._text[self.at] if self.at < len(self._text) else ""

    def _next(self) -> str:
        if self.at >= len(self._text):
            _refuse("cut short")
        self.at += 1
        return self._text[self.at - 1]

    def _take(self, expected: str) -> None:
        if self._peek() != expected:
            _refuse("not JSON" if self.at < len(self._text) else "cut short")
        self.at += 1
