-- Setting a cart line that is not there, while orders still hold units of it, locks those orders against the
-- cleanup. Who locks a row needs the right to change it.
grant update on xpoints.orders to storefront;
