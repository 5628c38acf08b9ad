"""Mappings that come with fraudfed, one TOML file each; read by ``fraudfed.features.mapping``."""
