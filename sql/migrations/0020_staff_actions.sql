-- Who of the staff credited whom is written down in the transaction of the credit.
grant insert on xpoints.operations_log to staff;
