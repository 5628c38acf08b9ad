"""One file for each version of the tables, numbered as ``schema.SCHEMA_VERSION`` is."""
