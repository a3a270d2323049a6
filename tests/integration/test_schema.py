"""What the migrations make: the workshop's nine tables, and roles that can do what they need, no more."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import psycopg.sql
import pytest

from tests.integration.conftest import Connect
from tests.integration.databases import MigratedDatabases

# The workshop's tables: each column with its type, in order.
WORKSHOP = {
    "customers": [
        ("id", "uuid"), ("username", "varchar(50)"), ("first_name", "varchar(50)"),
        ("last_name", "varchar(50)"), ("maiden_name", "varchar(50)"), ("gender", "varchar(10)"),
        ("email", "varchar(50)"),
        ("phone_num", "varchar(20)"), ("age", "int4"), ("address", "varchar(100)"), ("city", "varchar(50)"),
        ("state", "varchar(25)"), ("state_code", "varchar(20)"), ("postal_code", "varchar(10)"),
    ],
    "catalog_items": [
        ("id", "uuid"), ("name", "varchar(50)"), ("description", "varchar(200)"), ("category", "varchar(20)"),
        ("usd_price", "numeric(8,2)"), ("points_price", "int4"), ("rating", "float4"), ("sku", "varchar(20)"),
        ("weight", "float4"), ("width", "float4"), ("height", "float4"), ("depth", "float4"),
        ("thumbnail_id", "uuid"),
    ],
    "catalog_images": [("item_id", "uuid"), ("image_id", "uuid")],
    "shopping_cart_items": [("customer_id", "uuid"), ("item_id", "uuid"), ("quantity", "int4")],
    "points_balances": [("customer_id", "uuid"), ("points_balance", "int8")],
    "transactions": [
        ("id", "uuid"), ("customer_id", "uuid"), ("tx_type", "varchar(10)"), ("points", "int8"),
        ("tx_dt", "timestamp"), ("tx_description", "varchar(50)"),
    ],
    "order_items": [
        ("tx_id", "uuid"), ("cat_item_id", "uuid"), ("unit_cnt", "int4"), ("unit_points_price", "int4"),
    ],
    "images": [("id", "uuid"), ("filename", "varchar(100)")],
    "image_urls": [
        ("image_id", "uuid"), ("region", "varchar(20)"), ("presigned_url", "varchar(2000)"),
        ("created", "timestamp"),
    ],
}  # fmt: skip

PRIMARY_KEYS = {
    "customers": ["id"],
    "catalog_items": ["id"],
    "catalog_images": ["item_id", "image_id"],
    "shopping_cart_items": ["customer_id", "item_id"],
    "points_balances": ["customer_id"],
    "transactions": ["id"],
    "order_items": ["tx_id", "cat_item_id"],
    "images": ["id"],
    "image_urls": ["image_id", "region"],
}

# The first column of an index a table of the workshop.
WORKSHOP_INDEXES = {
    ("customers", "username"),
    ("catalog_images", "item_id"),
    ("shopping_cart_items", "customer_id"),
    ("transactions", "customer_id"),
    ("order_items", "tx_id"),
}

A, B = "'00000000-0000-4000-8000-00000000000a'", "'00000000-0000-4000-8000-00000000000b'"

# The workshop's own kind of INSERT: values by position, for its own columns only.
POSITIONAL = {
    "customers": f"{A}, 'carlos_salazar_121', 'Carlos', 'Salazar', null, 'M',"
    " 'carlos_salazar_121@example.mil', '555-0100', 41, '1 Main St', 'Any Town', 'Ohio', 'OH', '12345'",
    "catalog_items": f"{A}, 'Mug', 'A mug', 'kitchen', 12.50, 1250, 4.5, 'SKU-1', 0.3, 8, 9, 8, {B}",
    "catalog_images": f"{A}, {B}",
    "shopping_cart_items": f"{A}, {B}, 2",
    "points_balances": f"{A}, 5000",
    "transactions": f"{A}, {B}, 'PURCHASE', 1250, now(), 'an order'",
    "order_items": f"{A}, {B}, 2, 1250",
    "images": f"{A}, 'mug.png'",
    "image_urls": f"{A}, 'us-east-1', 'https://example.com/mug.png', now()",
}


@pytest.fixture(scope="module")
def database_name(databases: MigratedDatabases) -> Iterator[str]:
    """One database for all of them: they look at the schema, and their few rows do not meet."""
    with databases.lend() as name:
        yield name


@pytest.mark.parametrize("table", WORKSHOP)
def test_a_workshop_table_begins_with_the_workshops_columns_in_order(connect: Connect, table: str) -> None:
    columns = connect().execute(
        """
        select column_name, udt_name || case
            when udt_name = 'varchar' then '(' || character_maximum_length || ')'
            when udt_name = 'numeric' then '(' || numeric_precision || ',' || numeric_scale || ')'
            else '' end
        from information_schema.columns
        where table_schema = 'xpoints' and table_name = %s
        order by ordinal_position
        """,
        [table],
    )
    assert columns.fetchall()[: len(WORKSHOP[table])] == WORKSHOP[table]


@pytest.mark.parametrize("table", WORKSHOP)
def test_what_was_added_to_a_workshop_table_need_not_be_given(connect: Connect, table: str) -> None:
    added = connect().execute(
        """
        select column_name from information_schema.columns
        where table_schema = 'xpoints' and table_name = %s and ordinal_position > %s
            and is_nullable = 'NO' and column_default is null
        """,
        [table, len(WORKSHOP[table])],
    )
    assert added.fetchall() == []


@pytest.mark.parametrize("table", WORKSHOP)
def test_a_workshop_table_has_the_workshops_primary_key(connect: Connect, table: str) -> None:
    key = connect().execute(
        """
        select u.column_name
        from information_schema.table_constraints c
        join information_schema.key_column_usage u using (constraint_schema, constraint_name)
        where c.constraint_type = 'PRIMARY KEY' and c.table_schema = 'xpoints' and c.table_name = %s
        order by u.ordinal_position
        """,
        [table],
    )
    assert [column for (column,) in key] == PRIMARY_KEYS[table]


def test_the_workshops_indexes_exist(connect: Connect) -> None:
    leading = connect().execute(
        """
        select t.relname, a.attname
        from pg_index i
        join pg_class t on t.oid = i.indrelid
        join pg_namespace n on n.oid = t.relnamespace and n.nspname = 'xpoints'
        join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[0]
        where not i.indisprimary and i.indpred is null
        """
    )
    assert set(leading.fetchall()) >= WORKSHOP_INDEXES


def test_the_workshops_uuids_come_by_themselves(connect: Connect) -> None:
    for table in ("customers", "catalog_items", "transactions", "images"):
        ids = connect().execute(f"insert into xpoints.{table} default values returning id".encode())
        assert ids.fetchall()[0][0].version == 4


@pytest.mark.parametrize("table", WORKSHOP)
def test_the_workshops_positional_insert_works(connect: Connect, table: str) -> None:
    workshop = connect("rewards_rw")
    workshop.execute(f"insert into xpoints.{table} values ({POSITIONAL[table]})".encode())
    assert workshop.execute(f"select 1 from xpoints.{table}".encode()).rowcount >= 1


def test_no_balance_goes_below_zero_whatever_the_code_decides(connect: Connect) -> None:
    connection = connect()
    connection.execute(f"insert into xpoints.points_balances values ({B}, 100)".encode())
    with pytest.raises(psycopg.errors.CheckViolation, match="points_balance_not_negative"):
        connection.execute("update xpoints.points_balances set points_balance = points_balance - 101")


# --- Roles: what each needs, and what it must not get

NINE = list(WORKSHOP)
EVERYWHERE = [
    *NINE,
    "orders",
    "stock",
    "outbox",
    "inbox",
    "idempotency_records",
    "relay_leases",
    "notifications",
]
APPLICATION_ROLES = [
    "storefront", "checkout", "relay", "consumers", "cascades", "jobs", "accounts", "staff",
    "enrolment", "overview",
]  # fmt: skip
PEOPLE = ["reports", "operations"]
OURS = [*APPLICATION_ROLES, *PEOPLE]
WRITTEN_ONCE = ["transactions", "order_events", "idempotency_records", "request_log"]

# role, privilege, tables
NEEDED = [
    ("rewards_ro", "select", NINE),
    *(("rewards_rw", privilege, NINE) for privilege in ("select", "insert", "update", "delete")),
    ("storefront", "select", [*NINE, "orders", "stock"]),
    ("storefront", "insert", ["shopping_cart_items", "image_urls"]),
    ("storefront", "delete", ["shopping_cart_items"]),
    (
        "checkout",
        "select",
        ["points_balances", "shopping_cart_items", "catalog_items", "idempotency_records"],
    ),
    ("checkout", "insert", ["orders", "order_items", "transactions", "outbox", "idempotency_records"]),
    ("checkout", "update", ["points_balances", "stock", "orders"]),
    ("relay", "select", ["outbox", "relay_leases"]),
    ("relay", "delete", ["outbox", "relay_leases"]),
    ("relay", "insert", ["outbox_dead_letters", "relay_leases"]),
    ("consumers", "insert", ["inbox", "notifications"]),
    ("consumers", "delete", ["shopping_cart_items"]),
    ("jobs", "select", [table for table in EVERYWHERE if table != "relay_leases"]),
    ("jobs", "delete", ["idempotency_records", "inbox"]),
    ("accounts", "update", ["customers", "points_balances"]),
    ("accounts", "insert", ["transactions"]),
    ("staff", "insert", ["catalog_items", "transactions", "outbox"]),
    ("staff", "delete", ["stock"]),
    ("cascades", "delete", ["points_balances", "shopping_cart_items", "notifications"]),
    ("cascades", "insert", ["outbox", "inbox"]),
    ("reports", "select", ["orders", "order_items", "transactions", "points_balances", "items_for_sale"]),
    ("operations", "select", ["outbox", "inbox", "customers", "orders", "transactions", "job_progress"]),
    ("operations", "insert", ["outbox", "customers", "points_balances"]),
    ("operations", "delete", ["outbox_dead_letters", "regions", "region_cleanups"]),
]
REFUSED = [
    *(("rewards_ro", privilege, NINE) for privilege in ("insert", "update", "delete")),
    ("rewards_ro", "select", ["orders", "outbox", "idempotency_records"]),
    ("rewards_rw", "select", ["orders", "outbox", "idempotency_records"]),
    # Whoever may change a customer may not make one of the staff.
    *((role, "insert", ["staff_members"]) for role in [*APPLICATION_ROLES, "rewards_rw"]),
    ("storefront", "update", ["points_balances", "transactions", "orders", "customers"]),
    ("storefront", "insert", ["orders", "outbox", "transactions"]),
    ("storefront", "select", ["outbox", "idempotency_records", "notifications"]),
    ("checkout", "delete", EVERYWHERE),
    ("checkout", "update", ["customers", "catalog_items", "shopping_cart_items"]),
    ("relay", "select", ["customers", "points_balances", "orders", "idempotency_records"]),
    ("relay", "insert", ["outbox"]),
    ("consumers", "select", ["points_balances", "idempotency_records"]),
    ("consumers", "update", ["points_balances"]),
    ("jobs", "update", ["customers", "orders"]),
    ("staff", "delete", ["catalog_items", "customers", "points_balances", "orders"]),
    ("staff", "update", ["customers", "orders"]),
    ("staff", "select", ["outbox", "notifications", "shopping_cart_items"]),
    ("cascades", "select", ["orders", "order_items", "transactions", "outbox"]),
    ("cascades", "update", ["points_balances", "orders"]),
    ("accounts", "select", ["orders", "outbox", "idempotency_records"]),
    *(("reports", privilege, EVERYWHERE) for privilege in ("insert", "update", "delete")),
    ("reports", "select", ["customers", "region_cleanups", "notifications", "idempotency_records"]),
    ("enrolment", "select", ["points_balances", "orders", "idempotency_records"]),
    ("enrolment", "insert", ["customers", "staff_members"]),
    # `rewards invite` opens accounts, which are empty.
    (
        "operations",
        "insert",
        [table for table in EVERYWHERE if table not in ("outbox", "customers", "points_balances")],
    ),
    ("operations", "update", ["customers", "points_balances", "staff_members"]),
    # What was written once stays as it was written: nobody edits it, and money is not deleted either.
    *((role, "update", WRITTEN_ONCE) for role in OURS),
    *((role, "delete", ["transactions", "orders", "order_items", "order_events"]) for role in OURS),
    *((role, privilege, ["request_log"]) for role in PEOPLE for privilege in ("insert", "delete")),
]  # fmt: skip

# Everything that a role may do, and nothing else is: a table's name and the first letters of
# select, insert, update, delete. Whoever grants more says so here, and why in the migration.
GRANTS = {
    "storefront": "catalog_images:s catalog_items:s confirmations:s customers:s image_urls:siu images:s "
    "item_words:s items_for_sale:s order_events:s order_items:s orders:s points_balances:s "
    "shopping_cart_items:siud stock:s transactions:s",
    "checkout": "catalog_items:s customers:s idempotency_records:si order_events:si order_items:siu "
    "orders:siu outbox:i points_balances:su request_log:i shopping_cart_items:s stock:su transactions:si "
    "usage_counts:siu",
    "accounts": "customers:su email_changes:siud notifications:i outbox:i points_balances:su transactions:si "
    "usage_counts:siu",
    "staff": "catalog_items:siu customers:s idempotency_records:si images:s item_words:sid order_events:s "
    "order_items:s orders:s outbox:i points_balances:su request_log:i staff_members:s stock:siud "
    "transactions:si",
    "relay": "outbox:sud outbox_dead_letters:si relay_leases:siud relays:siud",
    "consumers": "catalog_items:s consumed_versions:siu customers:s email_changes:su inbox:si "
    "notifications:siu order_events:s order_items:s orders:su shopping_cart_items:sud "
    "suppressed_addresses:si usage_counts:siu",
    "cascades": "catalog_images:sd catalog_items:su customers:su email_changes:sd idempotency_records:sd "
    "image_urls:sd images:sud inbox:si notifications:siud outbox:i points_balances:sd region_cleanups:si "
    "regions:s shopping_cart_items:sd staff_members:sd suppressed_addresses:s transactions:i "
    "usage_counts:siu",
    "jobs": "catalog_images:sd catalog_items:s consumed_versions:sd customers:s email_changes:sd "
    "idempotency_records:sd image_urls:sd images:s inbox:sd item_words:sid job_progress:siu "
    "notifications:sd order_events:s order_items:s "
    "orders:s outbox:s outbox_dead_letters:s points_balances:s region_cleanups:sd regions:si request_log:sd "
    "shopping_cart_items:sd staff_members:sd stock:s transactions:s "
    "usage_counts:sd",
    "enrolment": "customers:s region_cleanups:si regions:s staff_members:s",
    "reports": "catalog_images:s catalog_items:s images:s items_for_sale:s order_events:s order_items:s "
    "orders:s points_balances:s request_log:s shopping_cart_items:s stock:s transactions:s",
    "operations": "catalog_items:s customers:si idempotency_records:s inbox:s job_progress:s notifications:s "
    "order_events:s order_items:s orders:s outbox:si outbox_dead_letters:sd points_balances:si "
    "region_cleanups:sid regions:sd relay_leases:s relays:s request_log:s shopping_cart_items:s "
    "staff_members:sid stock:s suppressed_addresses:sd transactions:s",
    "overview": "customers:s inbox:s notification_states:s order_events:s orders:s "
    "outbox_dead_letter_states:s outbox_states:s regions:s relay_leases:s relays:s staff_members:s",
    "rewards_ro": " ".join(f"{table}:s" for table in sorted(NINE)),
    "rewards_rw": " ".join(f"{table}:siud" for table in sorted(NINE)),
}
GRANTED = """
    select string_agg(table_name || ':' || letters, ' ' order by table_name collate "C")
    from (
        select table_name, string_agg(
            lower(left(privilege_type, 1)), '' order by position(left(privilege_type, 1) in 'SIUD')
        ) as letters
        from information_schema.role_table_grants
        where table_schema = 'xpoints' and grantee = %s
        group by table_name
    ) as granted
"""


@pytest.mark.parametrize("role", [*OURS, "rewards_ro", "rewards_rw"])
def test_a_role_has_exactly_its_privileges(connect: Connect, role: str) -> None:
    assert connect().execute(GRANTED, [role]).fetchall() == [(GRANTS[role],)]


@pytest.mark.parametrize("role", OURS)
def test_a_role_belongs_to_no_other_and_owns_nothing(connect: Connect, role: str) -> None:
    attributes = "rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls"
    ((powers, memberships, owned),) = (
        connect()
        .execute(
            f"""
            select {attributes},
                (select count(*) from pg_auth_members where member = r.oid or roleid = r.oid),
                (select count(*) from pg_class where relowner = r.oid)
            from pg_roles r where rolname = %s
            """.encode(),
            [role],
        )
        .fetchall()
    )
    assert (powers, memberships, owned) == (False, 0, 0)


ATTEMPTS = {
    "select": "select 1 from xpoints.{table} where false",
    "insert": "insert into xpoints.{table} ({column}) select null::{type} where false",
    "update": "update xpoints.{table} set {column} = null where false",
    "delete": "delete from xpoints.{table} where false",
}
FIRST_COLUMN = """
    select attname, format_type(atttypid, atttypmod)
    from pg_attribute where attrelid = %s::regclass and attnum = 1
"""


def is_refused(connect: Connect, role: str, privilege: str, table: str) -> bool:
    """Try it, and tell whether the answer is 42501."""
    ((column, kind),) = connect().execute(FIRST_COLUMN, [f"xpoints.{table}"]).fetchall()
    attempt = ATTEMPTS[privilege].format(table=table, column=column, type=kind)
    try:
        connect(role).execute(attempt.encode())
    except psycopg.errors.lookup("42501"):
        return True
    return False


@pytest.mark.parametrize(("role", "privilege", "tables"), NEEDED)
def test_a_role_can_do_what_it_is_for(connect: Connect, role: str, privilege: str, tables: list[str]) -> None:
    assert [table for table in tables if is_refused(connect, role, privilege, table)] == []


@pytest.mark.parametrize(("role", "privilege", "tables"), REFUSED)
def test_a_role_can_do_no_more(connect: Connect, role: str, privilege: str, tables: list[str]) -> None:
    assert [table for table in tables if is_refused(connect, role, privilege, table)] == tables


ROLES = ["rewards_ro", "rewards_rw", *OURS]


@pytest.mark.parametrize("role", ROLES)
def test_no_role_but_admin_changes_the_schema(connect: Connect, role: str) -> None:
    connection = connect(role)
    for statement in (
        b"create table xpoints.mine (id int primary key)",
        b"drop table xpoints.orders",
        b"alter table xpoints.orders add column mine int",
        b"create role mine",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@pytest.mark.parametrize("role", ROLES)
def test_the_record_of_migrations_is_written_by_nobody_but_admin(connect: Connect, role: str) -> None:
    assert is_refused(connect, role, "delete", "schema_migrations")


def test_no_column_takes_a_number_that_is_none(connect: Connect) -> None:
    connection = connect()
    connection.execute("insert into xpoints.catalog_items (id, name) values (%s, 'Mug')", [UUID(int=7)])
    columns = connection.execute(
        """
        select c.table_name, c.column_name, c.data_type
        from information_schema.columns c
        join information_schema.tables t using (table_schema, table_name)
        where c.table_schema = 'xpoints' and t.table_type = 'BASE TABLE'
            and c.data_type in ('real', 'double precision', 'numeric')
        """
    ).fetchall()
    assert {table for table, _, _ in columns} == {"catalog_items"}, "say here how a row of it is made"
    for table, column, kind in columns:
        for value in ("NaN", "Infinity", "-Infinity", "-1"):
            change = psycopg.sql.SQL("update {} set {} = %s::{}").format(
                psycopg.sql.Identifier("xpoints", table),
                psycopg.sql.Identifier(column),
                psycopg.sql.SQL(kind),
            )
            # A numeric of so many digits has no infinity at all.
            with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NumericValueOutOfRange)):
                connection.execute(change, [value])
