"""Write a software bill of materials for each role: CycloneDX 1.6, JSON, from the lock files.

A bill names what ``pip install --require-hashes`` installs for a role: version, the hashes of every
file that may be installed, licence, and who asks for whom. Licences stand in no lock file: they are
read from what is installed here, and left out where it is not. The packages of an image's operating
system are not in it; a scanner of images lists those.
"""

import argparse
import configparser
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from locks import REQUIREMENTS, Package, packages
from packageurl import PackageURL

ROOT = Path(__file__).parents[2]
#: What others install; "dev" is for this repository alone.
ROLES = ("aggregator", "bank", "bank-full", "lab")
#: A serial number follows from what is in the bill: the same lock file, the same number.
_NAMESPACE = uuid.UUID("6f1c1c5e-3f0b-5c0a-9d65-6d0c2c3a7a18")
#: Classifiers that stand for one licence each; "BSD License" is several.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def licence(name: str) -> License | None:
    """Return the licence that an installed package states, best form first; ``None`` if unknown."""
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return None
    make = LicenseFactory().make_from_string
    if "License-Expression" in about:
        return make(about["License-Expression"])
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier", [])
        if line.startswith("License :: ")
    ]
    named = [_SPDX.get(text, text) for text in classified if text != "OSI Approved"]
    if len(named) == 1 and named[0] != "BSD License":
        return make(named[0])
    text = about["License"].strip() if "License" in about else ""
    # Some put the whole licence there.
    if text and "\n" not in text and len(text) < 80:
        return make(text)
    return make(" AND ".join(named)) if named else None


def component(package: Package) -> Component:
    """Describe one entry of a lock file."""
    found = licence(package.name)
    return Component(
        bom_ref=package.purl,
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=PackageURL.from_string(package.purl),
        # What only builds this project is locked with the rest, and in no image.
        scope=ComponentScope.REQUIRED if package.asked_by else ComponentScope.EXCLUDED,
        licenses=[found] if found else [],
        # One file of a package is installed, and each has a hash of its own.
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(package.purl),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in package.hashes],
            )
        ],
        properties=[Property(name="fraudfed:marker", value=package.marker)]
        if package.marker
        else [],
    )


def project() -> tuple[str, str]:
    """Return the version and the licence of this project."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["metadata"]["version"], config["metadata"]["license"]


def bill(role: str, *, at: datetime) -> Bom:
    """Return the bill of one role, with every dependency between its entries."""
    version, own_licence = project()
    root = Component(
        bom_ref=f"fraudfed[{role}]",
        type=ComponentType.APPLICATION,
        name="fraudfed",
        version=version,
        purl=PackageURL(type="generic", name="fraudfed", version=version),
        licenses=[LicenseFactory().make_from_string(own_licence)],
        properties=[Property(name="fraudfed:role", value=role)],
    )
    locked = packages(role)
    made = {package: component(package) for package in locked}
    serial = uuid.uuid5(_NAMESPACE, f"{version} {(REQUIREMENTS / f'{role}.txt').read_text()}")
    bom = Bom(components=made.values(), serial_number=serial)
    bom.metadata.component = root
    bom.metadata.timestamp = at

    def asked_for_by(name: str | None) -> Iterable[Component]:
        return (made[package] for package in locked if name in package.asked_by)

    bom.register_dependency(root, asked_for_by(None))
    for package in locked:
        bom.register_dependency(made[package], asked_for_by(package.name))
    return bom


def last_commit() -> datetime:
    """Return ``SOURCE_DATE_EPOCH``, else the last commit's time: same commit, same bill."""
    epoch = (
        os.environ.get("SOURCE_DATE_EPOCH")
        or subprocess.run(
            ["git", "log", "-1", "--format=%ct"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    return datetime.fromtimestamp(int(epoch), tz=UTC)


def main() -> None:
    """Write and validate the bills that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the bills")
    parser.add_argument("roles", nargs="*", default=ROLES, help="names of lock files [all roles]")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for role in options.roles:
        text = JsonV1Dot6(bill(role, at=last_commit())).output_as_string(indent=2) + "\n"
        wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        if wrong:
            sys.exit(f"{role}: not valid CycloneDX 1.6: {wrong}")
        path = options.out / f"fraudfed-{role}.cdx.json"
        path.write_text(text)
        locked = packages(role)
        without = [package.name for package in locked if licence(package.name) is None]
        print(f"{path}: {len(locked)} packages, without a licence: {', '.join(without) or 'none'}")


if __name__ == "__main__":
    main()
