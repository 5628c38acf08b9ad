"""The commands of ``data-gen``, one module per purpose."""
