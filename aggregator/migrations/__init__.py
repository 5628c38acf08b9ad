"""Steps from one version of the tables to the next; ``storage.schema_version`` runs them."""
