-- A new address of a customer, which is nobody's until the code that was sent to it comes back. A change that was
-- confirmed stays for a while, so that the same request again has the same answer.
create table if not exists xpoints.email_changes (
    customer_id uuid not null,
    -- Also the id of the message with the code: another code is another change.
    change_id uuid not null,
    email varchar(50) not null,
    -- Null until the message is being sent: the code itself is in that message alone.
    code_hash varchar(64),
    attempts smallint not null default 0,
    requested_at timestamptz not null default now(),
    expires_at timestamptz,
    confirmed_at timestamptz,
    constraint email_changes_pkey primary key (customer_id)
);

-- How often a customer, or an address (as its hash), had something that is bounded: in an hour and in a day, both
-- counted from 1970. Nobody's row is another's, so nobody waits for another here.
create table if not exists xpoints.usage_counts (
    subject varchar(64) not null,
    operation varchar(20) not null,
    hour int not null,
    in_hour int not null,
    day int not null,
    in_day int not null,
    constraint usage_counts_pkey primary key (subject, operation)
);

-- Addresses, as their hashes, that the mail service had back or that complained: nothing is sent there any more.
create table if not exists xpoints.suppressed_addresses (
    address_hash varchar(64) not null,
    reason varchar(10) not null,
    suppressed_at timestamptz not null default now(),
    constraint suppressed_addresses_pkey primary key (address_hash)
);

-- Customers change their address.
grant select on xpoints.email_changes, xpoints.usage_counts to accounts;

grant insert on xpoints.email_changes, xpoints.notifications, xpoints.usage_counts to accounts;

grant update on xpoints.email_changes, xpoints.usage_counts to accounts;

grant delete on xpoints.email_changes to accounts;

-- Cancellations have a bound.
grant select, insert, update on xpoints.usage_counts to checkout;

-- Those who send e-mail count it, and send nothing to an address that had it back; codes are made as they are sent.
grant select, insert, update on xpoints.usage_counts to cascades, consumers;

grant select on xpoints.suppressed_addresses to cascades, consumers;

grant insert on xpoints.suppressed_addresses to consumers;

grant select, update on xpoints.email_changes to consumers;

-- What is over goes.
grant select, delete on xpoints.email_changes to cascades, jobs;

grant select, delete on xpoints.usage_counts to jobs;

-- An address that works again is taken off the list of those that nothing is sent to (docs/runbook.md).
grant select, delete on xpoints.suppressed_addresses to operations;
