"""HTTP as the programs' clients speak it: to one server, which may be hostile."""
