"""Named child seeds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synthoma.seeding import child_seed, generator

names = st.lists(st.one_of(st.text(max_size=8), st.integers(-5, 1000)), max_size=4)


@given(st.integers(0, 2**40), names, names)
def test_other_names_have_other_seeds(seed: int, first: list, second: list) -> None:
    same = [(type(a), a) for a in first] == [(type(b), b) for b in second]
    joined = "\x1f" in "".join(str(part) for part in (*first, *second))  # the separator inside a name
    assert joined or (child_seed(seed, *first) == child_seed(seed, *second)) == same


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert child_seed(0, "order", 3) == 34327578878524630
    assert generator(7, "a").integers(1000) == generator(7, "a").integers(1000)
    assert child_seed(1, "1") != child_seed(1, 1)
