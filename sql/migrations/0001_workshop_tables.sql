-- The nine tables of the rewards-points workshop, with their names, columns and order kept, so that
-- SQL written against them runs here unchanged. What this project adds stands after a table's own
-- columns and is nullable or defaulted. No foreign keys: see docs/decisions/.

create schema if not exists xpoints;

-- Who can order: a name, an address, and a username to sign in with.
create table if not exists xpoints.customers (
    id uuid primary key default gen_random_uuid(),
    username varchar(50),
    first_name varchar(50),
    last_name varchar(50),
    maiden_name varchar(50),
    gender varchar(10),
    email varchar(50),
    phone_num varchar(20),
    age int,
    address varchar(100),
    city varchar(50),
    state varchar(25),
    state_code varchar(20),
    postal_code varchar(10),
    -- ours: optimistic concurrency (the account's ETag) and when it was erased
    version int default 1,
    erased_at timestamptz
);

-- What is on the shelf, at which price in points.
create table if not exists xpoints.catalog_items (
    id uuid primary key default gen_random_uuid(),
    name varchar(50),
    description varchar(200),
    category varchar(20),
    usd_price numeric(8,2),
    points_price int check (points_price >= 0),
    rating real,
    sku varchar(20),
    weight real,
    width real,
    height real,
    depth real,
    thumbnail_id uuid,
    -- ours: optimistic concurrency, and when it was taken off the shelf
    version int default 1,
    retired_at timestamptz,
    -- What the API takes. "Not a number" and the infinities, which JSON cannot say, are outside of each.
    constraint catalog_items_figures check (
        usd_price between 0 and 999999.99 and rating between 0 and 5
        and weight between 0 and 1000000 and width between 0 and 1000000
        and height between 0 and 1000000 and depth between 0 and 1000000
    )
);

-- Which pictures an item has.
create table if not exists xpoints.catalog_images (
    item_id uuid,
    image_id uuid,
    primary key (item_id, image_id)
);

-- What lies in whose cart, a line an item.
create table if not exists xpoints.shopping_cart_items (
    customer_id uuid,
    item_id uuid,
    quantity int check (quantity > 0),
    -- ours: when the shopper last touched the line; stale carts expire by it
    updated_at timestamptz default now(),
    primary key (customer_id, item_id)
);

-- How many points a customer has.
create table if not exists xpoints.points_balances (
    customer_id uuid primary key,
    points_balance bigint not null,
    -- The last guard of every debit: whatever the code above it decided, no balance goes below zero.
    -- guard: CHECK of the balance
    constraint points_balance_not_negative check (points_balance >= 0)
);

-- The ledger. `points` is signed: credits are positive, debits negative. Rows are never edited.
create table if not exists xpoints.transactions (
    id uuid primary key default gen_random_uuid(),
    customer_id uuid,
    tx_type varchar(10),
    points bigint,
    tx_dt timestamp default now(),
    tx_description varchar(50),
    -- ours: the balance that this entry left behind, and the order or transfer it belongs to
    balance_after bigint,
    reference_id uuid
);

-- An order's lines. tx_id is the order's id, which is also the id of its PURCHASE ledger entry.
create table if not exists xpoints.order_items (
    tx_id uuid,
    cat_item_id uuid,
    unit_cnt int,
    unit_points_price int,
    -- ours: how many of the line's units were given back
    refunded_cnt int default 0,
    -- guard: CHECK of a line's refund
    constraint order_items_refund_within_line check (refunded_cnt between 0 and unit_cnt),
    primary key (tx_id, cat_item_id)
);

-- Pictures, by their key in the bucket.
create table if not exists xpoints.images (
    id uuid primary key default gen_random_uuid(),
    filename varchar(100)
);

-- Signed addresses of pictures, one a Region, until they expire.
create table if not exists xpoints.image_urls (
    image_id uuid,
    region varchar(20),
    presigned_url varchar(2000),
    created timestamp default now(),
    primary key (image_id, region)
);
