"""The release program: what turns a payment confirmation into the product, step by step.

A program is data inside the integration code, a list of whitelisted instructions with small numbers
behind them. It jumps forwards only, so that it ends; it takes the degree of the confirmation as its
argument and asks its host for keys, parts and room. Nothing of a scanned code is ever executed as
code.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec

from node.protocol.encoding import Record
from node.protocol.errors import Refused

INSTRUCTIONS_MAX = 64
STEPS_MAX = 256
OUTPUT_BYTES_MAX = 64 << 20

# op, argument: what it does.
SKIP_BELOW = "skip_below"  # degree: go on behind the next `end` unless the degree is at least this
END = "end"  # 0: where a skip lands
OPEN = "open"  # part: decrypt a part with the key of the degree that it is for
INFLATE = "inflate"  # bytes: decompress what was opened, to at most so many bytes
EMIT = "emit"  # 0: what there is now is output
STOP = "stop"  # 0: the program is over
OPERATIONS = frozenset({SKIP_BELOW, END, OPEN, INFLATE, EMIT, STOP})


class Instruction(Record, frozen=True):
    """One step."""

    op: Annotated[str, msgspec.Meta(max_length=16)]
    argument: Annotated[int, msgspec.Meta(ge=0, le=OUTPUT_BYTES_MAX)]


Program = Annotated[tuple[Instruction, ...], msgspec.Meta(max_length=INSTRUCTIONS_MAX)]
Opener = Callable[[int], bytes]
"""Decrypts a part by its number; raises `Refused` where the key is missing or another one."""


def standard(parts: Mapping[int, int]) -> tuple[Instruction, ...]:
    """Give out each part whose degree was reached; `parts` has the plain size by degree."""
    steps: list[Instruction] = []
    for degree, size in sorted(parts.items()):
        steps += [
            Instruction(SKIP_BELOW, degree),
            Instruction(OPEN, degree),
            Instruction(INFLATE, size),
            Instruction(EMIT, 0),
            Instruction(END, 0),
        ]
    return (*steps, Instruction(STOP, 0))


def check(program: Sequence[Instruction]) -> None:
    """Raise `Refused` `BAD_PROGRAM` unless every instruction is allowed and every skip lands."""
    if not 0 < len(program) <= INSTRUCTIONS_MAX:
        raise Refused("BAD_PROGRAM", f"between 1 and {INSTRUCTIONS_MAX} instructions")
    open_skips = 0
    for place, step in enumerate(program):
        if step.op not in OPERATIONS:
            raise Refused("BAD_PROGRAM", f"instruction {place}: {step.op!r} is not allowed")
        open_skips += (step.op == SKIP_BELOW) - (step.op == END)
        if open_skips not in (0, 1):
            raise Refused("BAD_PROGRAM", f"instruction {place}: a skip without its end")
    if open_skips:
        raise Refused("BAD_PROGRAM", "a skip without its end")


def run(program: Sequence[Instruction], degree: int, opened: Opener) -> list[bytes]:
    """The outputs of a program for a confirmed degree.

    Raises `Refused`: `BAD_PROGRAM`, `BOMB` for more output than allowed, or what `opened` raises.
    """
    check(program)
    place, room, current = 0, OUTPUT_BYTES_MAX, b""
    outputs: list[bytes] = []
    for _ in range(STEPS_MAX):
        if place >= len(program):
            return outputs
        step = program[place]
        place += 1
        match step.op:
            case "skip_below" if degree < step.argument:
                place = next(i for i in range(place, len(program)) if program[i].op == END) + 1
            case "open":
                current = opened(step.argument)
            case "inflate":
                current = inflate(current, min(step.argument, room))
            case "emit":
                room -= len(current)
                if room < 0:
                    raise Refused("BOMB", f"more than {OUTPUT_BYTES_MAX} bytes")
                outputs.append(current)
                current = b""
            case "stop":
                return outputs
    raise Refused("BAD_PROGRAM", f"more than {STEPS_MAX} steps")


def inflate(compressed: bytes, most: int) -> bytes:
    """Decompress to at most `most` bytes; raises `Refused` `BOMB`, or `BAD_CODE` for damage."""
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(compressed, most + 1)
    except zlib.error:
        raise Refused("BAD_CODE", "the product does not decompress") from None
    if len(plain) > most:
        raise Refused("BOMB", f"it decompresses to more than {most} bytes")
    if not machine.eof or machine.unused_data:
        raise Refused("BAD_CODE", "the product does not end where it should")
    return plain
