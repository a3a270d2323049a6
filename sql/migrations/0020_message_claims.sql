-- Which run is sending a message, until when, by the database's clock.

alter table xpoints.notifications add column if not exists claim_token uuid;

alter table xpoints.notifications add column if not exists claimed_until timestamptz;
