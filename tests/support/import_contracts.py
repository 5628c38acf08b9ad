"""A kind of contract for the import linter: what a package may import of another, and no more.

The linter's own kinds forbid by name, so a module that is added later is allowed until somebody
thinks of it. Here it is refused until somebody allows it.
"""

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class AllowListContract(Contract):
    """``source`` may import, directly or through others, only what ``allowed`` names of ``of``.

    A name that ends in ``.*`` allows all modules below it, but not the package itself.
    """

    type_name = "allow_list"

    source = fields.StringField()
    of = fields.StringField()
    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Follow every import of ``source``, and hold what is reached against the list."""
        reached = graph.find_upstream_modules(self.source, as_package=True)
        foreign = {m for m in reached if m == self.of or m.startswith(f"{self.of}.")}
        unlisted = sorted(m for m in foreign if not any(_covers(a, m) for a in self.allowed))
        unused = sorted(a for a in self.allowed if not any(_covers(a, m) for m in foreign))
        chains = {m: graph.find_shortest_chain(self.source, m, as_packages=True) for m in unlisted}
        return ContractCheck(
            kept=not unlisted and not unused, metadata={"chains": chains, "unused": unused}
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Say through which imports each module is reached, and what nothing needs any more."""
        metadata: dict[str, Any] = check.metadata
        for module, chain in metadata["chains"].items():
            output.print_error(f"{module} is not allowed: {' -> '.join(chain or (module,))}")
        for name in metadata["unused"]:
            output.print_error(f"{name} is allowed, but nothing imports it: take it off the list")


def _covers(allowed: str, module: str) -> bool:
    if allowed.endswith(".*"):
        return module.startswith(allowed[:-1])
    return module == allowed
