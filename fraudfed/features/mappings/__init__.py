"""Mappings: foreign columns, texts and times as ours; built-in ones are TOML files here."""
