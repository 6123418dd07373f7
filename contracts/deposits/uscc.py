"""The unified social credit code of GB 32100-2015: 18 characters, the last one checks the others.

Weights are W_i = 3^(i-1) mod 31 over an alphabet of 31 characters that leaves out I, O, S, V and Z.
"""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
LENGTH = 18
WEIGHTS = tuple(pow(3, place, 31) for place in range(LENGTH - 1))


def check_digit(first: str) -> str:
    """The character that belongs behind the first 17; "" if one of them is none of a code."""
    if len(first) != LENGTH - 1 or any(one not in ALPHABET for one in first):
        return ""
    total = sum([ALPHABET.index(one) * weight for one, weight in zip(first, WEIGHTS, strict=True)])
    return ALPHABET[-total % 31]


def is_valid(code: str) -> bool:
    """Whether this is a code whose last character is the right one."""
    return len(code) == LENGTH and code[-1] == check_digit(code[:-1])
