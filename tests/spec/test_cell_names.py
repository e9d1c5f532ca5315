"""Names of variants and cells: they read back, and carry only what differs from the paper."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.spec.cells import BASE, EXCHANGED, FIRST, NONE, Cell, Demonstrations, Variant

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,12}", fullmatch=True)
OPTIONAL = st.just("") | NAMES
SHOWN = (
    st.just(NONE)
    | st.builds(
        Demonstrations,
        st.integers(1, 99),
        st.sampled_from([FIRST, EXCHANGED]) | st.integers(0, 10**9 - 1).map("random{}".format),
        OPTIONAL,
    )
    | st.builds(
        Demonstrations,
        st.integers(1, 99),
        st.sampled_from(["each", "diverse"]).flatmap(
            lambda kind: st.integers(0, 10**9 - 1).map(f"{kind}{{}}".format)
        ),
    )
)
VARIANTS = st.just(BASE) | st.builds(
    Variant,
    NAMES,
    st.integers(1, 10**6),
    SHOWN,
    OPTIONAL,
    OPTIONAL,
    OPTIONAL,
    st.integers(0, 99),
    st.just("") | st.from_regex(r"(epoch)?[1-9][0-9]{0,8}", fullmatch=True),
)
CELLS = st.builds(Cell, VARIANTS, NAMES, NAMES, SHOWN)


@given(CELLS)
def test_names_read_back(cell: Cell) -> None:
    assert Cell.parse(cell.name) == cell
    assert Variant.parse(cell.variant.name) == cell.variant
    assert Demonstrations.parse(cell.demonstrations.name) == cell.demonstrations


@given(st.lists(CELLS, min_size=2, max_size=2, unique=True))
def test_no_two_cells_share_a_name(two: list[Cell]) -> None:
    assert two[0].name != two[1].name


@given(CELLS)
def test_names_can_be_file_names_and_items_of_a_list(cell: Cell) -> None:
    assert not set(cell.name) & set(" ,/\\:*?'\"<>|")


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (Cell(BASE, "xsum", "p1", Demonstrations(2)), "base.xsum.p1.2"),
        (Cell(Variant("mnli", 6000), "rte", "p2"), "mnli-ft-6000.rte.p2.0"),
        (
            Cell(Variant("socialqa", 2000, Demonstrations(2)), "sciqa", "p1", Demonstrations(4)),
            "socialqa-fticl2-2000.sciqa.p1.4",
        ),
        (
            Cell(Variant("xsum", 2000, epochs=4, prompt="p2"), "xsum", "p1"),
            "xsum-ft-2000-prompt=p2-epochs=4.xsum.p1.0",
        ),
        (
            Cell(BASE, "paws", "p1", Demonstrations(3, "random7", "qqp")),
            "base.paws.p1.3-random7-of=qqp",
        ),
        (
            Cell(Variant("paws", 2000, Demonstrations(4, "diverse1")), "qqp", "p1"),
            "paws-fticl4-2000-shown=diverse1.qqp.p1.0",
        ),
    ],
)
def test_what_differs_is_appended(cell: Cell, name: str) -> None:
    assert cell.name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "xsum",
        "xsum-ft",
        "xsum-ft-0",
        "xsum-fticl0-2000",
        "xsum-ft-02000",
        "xsum-ft-2000-",
        "xsum-ft-2000-colour=red",
        "xsum-ft-2000-epochs=0",
        "xsum-ft-2000-epochs=4-prompt=p2",
        "xsum-ft-2000-shown=random7",
        "xsum-fticl2-2000-shown=each",
        "xsum-fticl2-2000-shown=each1-of=xlsum",
        "base-epochs=4",
    ],
)
def test_other_texts_are_no_variants(name: str) -> None:
    with pytest.raises(ValueError, match="is not a model variant"):
        Variant.parse(name)


@pytest.mark.parametrize(
    "name", ["base.xsum.p1", "base.xsum.p1.2.3", "base.xsum.p1.-1", "base.x.y.02"]
)
def test_other_texts_are_no_cells(name: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        Cell.parse(name)
