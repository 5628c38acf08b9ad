"""The database: tables, transactions, and the two kinds of database that hold them."""
