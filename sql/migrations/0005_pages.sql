-- What the shop's pages show beside.

-- What became of messages, without their texts: customers see whether their order's confirmation was sent.
create view xpoints.confirmations as
select n.id, n.status, n.sent_at from xpoints.notifications n;

grant select on xpoints.confirmations to storefront;
