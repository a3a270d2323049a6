"""SQL written against the workshop's nine tables runs here unchanged, whatever this project added."""

from uuid import uuid4

import psycopg
import pytest

from tests.integration.conftest import Connect

COLUMNS = {
    "customers": "id uuid, username varchar, first_name varchar, last_name varchar, maiden_name varchar, "
    "gender varchar, email varchar, phone_num varchar, age int4, address varchar, city varchar, "
    "state varchar, state_code varchar, postal_code varchar",
    "catalog_items": "id uuid, name varchar, description varchar, category varchar, usd_price numeric, "
    "points_price int4, rating float4, sku varchar, weight float4, width float4, height float4, "
    "depth float4, thumbnail_id uuid",
    "catalog_images": "item_id uuid, image_id uuid",
    "shopping_cart_items": "customer_id uuid, item_id uuid, quantity int4",
    "points_balances": "customer_id uuid, points_balance int8",
    "transactions": "id uuid, customer_id uuid, tx_type varchar, points int8, tx_dt timestamp, "
    "tx_description varchar",
    "order_items": "tx_id uuid, cat_item_id uuid, unit_cnt int4, unit_points_price int4",
    "images": "id uuid, filename varchar",
    "image_urls": "image_id uuid, region varchar, presigned_url varchar, created timestamp",
}


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_begins_with_the_workshops_columns(connect: Connect, table: str) -> None:
    found = connect().execute(
        "select column_name || ' ' || udt_name from information_schema.columns "
        "where table_schema = 'xpoints' and table_name = %s order by ordinal_position",
        [table],
    )
    expected = COLUMNS[table].split(", ")
    assert [row[0] for row in found][: len(expected)] == expected


def test_rows_without_our_columns_are_accepted_and_a_purchase_of_theirs_runs(connect: Connect) -> None:
    """What the workshop's own functions do, as the workshop's role, without naming a column of ours."""
    connection = connect("rewards_rw")
    customer, item, image = uuid4(), uuid4(), uuid4()
    with connection.transaction():
        connection.execute(
            "insert into xpoints.customers values (%s, 'carlos_salazar_121', 'Carlos', 'Salazar', null, 'M', "
            "'carlos_salazar_121@example.mil', '555-0121', 41, '1 Main Street', 'Anytown', 'Washington', "
            "'WA', '98101')",
            [customer],
        )
        connection.execute(
            "insert into xpoints.catalog_items values (%s, 'Mug', 'A mug', 'Kitchen', 12.50, 300, 4.5, "
            "'SKU-1', 0.4, 8, 9, 8, %s)",
            [item, image],
        )
        connection.execute("insert into xpoints.images values (%s, 'mug.png')", [image])
        connection.execute("insert into xpoints.catalog_images values (%s, %s)", [item, image])
        connection.execute("insert into xpoints.image_urls values (%s, 'us-east-1', 'https://...')", [image])
        connection.execute("insert into xpoints.points_balances values (%s, 1000)", [customer])
        connection.execute("insert into xpoints.shopping_cart_items values (%s, %s, 2)", [customer, item])
    with connection.transaction():
        order = connection.execute(
            "insert into xpoints.transactions (customer_id, tx_type, points, tx_description) "
            "values (%s, 'PURCHASE', -600, 'Order of 2 item(s)') returning id",
            [customer],
        ).fetchone()
        assert order is not None
        connection.execute("insert into xpoints.order_items values (%s, %s, 2, 300)", [order[0], item])
        connection.execute(
            "update xpoints.points_balances set points_balance = points_balance - 600 where customer_id = %s",
            [customer],
        )
        connection.execute("delete from xpoints.shopping_cart_items where customer_id = %s", [customer])
    assert connection.execute(
        "select c.username, b.points_balance, i.name, o.unit_cnt, u.presigned_url from xpoints.customers c "
        "join xpoints.points_balances b on b.customer_id = c.id "
        "join xpoints.transactions t on t.customer_id = c.id "
        "join xpoints.order_items o on o.tx_id = t.id join xpoints.catalog_items i on i.id = o.cat_item_id "
        "left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = 'us-east-1'"
    ).fetchall() == [("carlos_salazar_121", 400, "Mug", 2, "https://...")]


def test_the_workshops_roles_may_what_they_may(connect: Connect) -> None:
    reader, reports = connect("rewards_ro"), connect("reports")
    reader.execute("select count(*) from xpoints.customers")
    for connection in (reader, reports):
        with pytest.raises(
            psycopg.errors.InsufficientPrivilege, match="permission denied for table customers"
        ):
            connection.execute("update xpoints.customers set age = 1")


def test_sample_files_are_copied_in_by_column_order(connect: Connect) -> None:
    """psql's copy without a column list needs every column: ours have defaults, so the list names theirs."""
    names = ", ".join(column.split()[0] for column in COLUMNS["points_balances"].split(", "))
    with connect("rewards_rw") as connection, connection.cursor() as cursor:
        with cursor.copy(
            f"copy xpoints.points_balances ({names}) from stdin with (format csv)".encode()
        ) as copy:
            copy.write(f"{uuid4()},500\n")
        assert cursor.rowcount == 1
