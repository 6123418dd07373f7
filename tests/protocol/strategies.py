"""Hypothesis strategies for canonical values."""

from __future__ import annotations

from hypothesis import strategies as st

from node.protocol.encoding import Value

INTEGERS = st.integers(min_value=-(1 << 63), max_value=(1 << 64) - 1)
TEXT = st.text(max_size=40)
SCALARS = st.none() | st.booleans() | INTEGERS | TEXT | st.binary(max_size=70)


def values() -> st.SearchStrategy[Value]:
    """Any canonical value at most four levels deep."""
    nested: st.SearchStrategy[Value] = SCALARS
    for _ in range(3):
        nested = SCALARS | st.lists(nested, max_size=4) | st.dictionaries(TEXT, nested, max_size=4)
    return nested


ARGUMENTS = st.dictionaries(st.text(min_size=1, max_size=20), values(), max_size=5)
