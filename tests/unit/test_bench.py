"""The arithmetic of benchmarks, and pgbench's script."""

from importlib.util import find_spec

from bench.growth import LISTS, opaque
from bench.harness import Spread, percentile, ratios, spread, table, take_turns
from bench.layers import LAYERS
from bench.pgbench import Recorded, make_script
from tools.bundle import ROOT

CUSTOMER = "00000000-0000-0000-0000-000000000001"
ORDER = "6f1c1f0e-0000-4000-8000-0000000000aa"
EVENT = "6f1c1f0e-0000-4000-8000-0000000000bb"


def test_ratios_are_of_neighbours_and_not_of_medians() -> None:
    # The machine slowed down to a half for both sides in the second slice.
    assert ratios([10, 5, 10], [20, 10, 20]) == Spread(0.5, 0.5, 0.5)


def test_a_spread_holds_median_least_and_most() -> None:
    assert spread([3, 1, 2]) == Spread(2, 1, 3)


def test_percentiles_are_values_that_were_measured() -> None:
    values = list(range(1, 101))
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (51, 100, 7.0)


def test_each_layer_of_the_profile_is_a_place_that_is_there() -> None:
    # A module that was renamed would be counted for the layer of its folder.
    places = [piece.strip("/") for piece, _ in LAYERS]
    assert [place for place in places if not (ROOT / place).exists() and not find_spec(place)] == []


def test_sides_take_turns_in_alternating_order() -> None:
    seen = ""

    def side(name: str) -> float:
        nonlocal seen
        seen += name
        return float(len(seen))

    def tidy() -> None:
        nonlocal seen
        seen += "."

    values = take_turns(2, lambda: side("a"), lambda: side("b"), between=tidy)
    assert seen == ".a.b.b.a"
    assert values == [[2.0, 8.0], [4.0, 6.0]]


def test_a_table_is_aligned() -> None:
    assert table("T", ["name", "n"], [["a", "10"]]).splitlines() == [
        "",
        "T",
        "name   n",
        "----  --",
        "a     10",
    ]


def test_a_script_keeps_the_recorded_sql_and_varies_only_what_varies() -> None:
    script = make_script(
        [
            Recorded("BEGIN", ()),
            Recorded("insert into o values ($1, $2, $3, $4, $1)", (ORDER, CUSTOMER, "12", None)),
            Recorded("insert i values ($1, $2::text[], $3)", ("key-0001", "{x,y}", EVENT)),
            Recorded("COMMIT", ()),
        ],
        customer=CUSTOMER,
        order=ORDER,
        key="key-0001",
    )
    order = "lpad((:order)::text, 32, '0')::uuid"
    assert script.text.splitlines()[-4:] == [
        "BEGIN;",
        f"insert into o values ({order}, lpad((:customer)::text, 32, '0')::uuid, :s2p3, null, {order});",
        "insert i values (lpad((:key)::text, 8, '0'), :s3p2::text[], lpad((:event)::text, 32, '0')::uuid);",
        "COMMIT;",
    ]
    assert script.constants == {"s2p3": "12", "s3p2": "{x,y}"}
    assert script.statements == 4


def test_a_pipelined_script_reads_in_one_round_trip_and_writes_in_the_next() -> None:
    texts = ("BEGIN", "select 1", "insert into t default values", "COMMIT")
    statements = [Recorded(text, ()) for text in texts]
    script = make_script(statements, customer=CUSTOMER, order=ORDER, key="key-0001", pipelined=True)
    assert script.text.splitlines()[-8:] == [
        "\\startpipeline",
        "BEGIN;",
        "select 1;",
        "\\endpipeline",
        "\\startpipeline",
        "insert into t default values;",
        "COMMIT;",
        "\\endpipeline",
    ]


def test_a_comparison_of_rows_is_made_one_that_no_index_is_searched_by() -> None:
    assert opaque(b"where a <= %(x)s and (o.a, o.b) < (%(x)s::real, %(y)s) limit 1") == (
        b"where a <= %(x)s and ((o.a, o.b) < (%(x)s::real, %(y)s)) is true limit 1"
    )
    assert opaque(b"where ({key}) > ({after})") == b"where (({key}) > ({after})) is true"
    assert opaque(b"where a in (1, 2) and f(a, b) = 1") == b"where a in (1, 2) and f(a, b) = 1"
    assert len(LISTS) == 6
