"""Build script: everything declarative lives in ``setup.cfg``; only compiled parts are named here.

Both are optional: where they cannot be built, the package installs without them and works the same,
only slower. ``FRAUDFED_NO_EXT=1`` leaves them out on purpose (at run time it leaves them unused).
"""

import os
from pathlib import Path

from setuptools import Extension, setup

#: -ffp-contract=off: a fused multiply-add rounds once where XGBoost and NumPy round twice.
COMPILE = ["-O3", "-std=c11", "-Wall", "-Wextra", "-ffp-contract=off"]
#: Nothing here reads errno or traps: no value changes, and loops over floats are vectorised.
COMPILE += ["-fno-math-errno", "-fno-trapping-math", "-pthread"]
#: The same bytes in every folder (deploy/release/wheel.py): no path in them, nothing for debuggers.
COMPILE += [f"-ffile-prefix-map={os.getcwd()}=.", "-g0"]  # noqa: PTH109
COMPILE += os.environ.get("FRAUDFED_EXTRA_CFLAGS", "").split()
LINK = ["-pthread", *os.environ.get("FRAUDFED_EXTRA_LDFLAGS", "").split()]

EXTENSIONS = [
    Extension(
        name,
        [source],
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
        # Parts of the same file, apart for the reader.
        depends=sorted(str(path) for path in Path(source).parent.glob("*.h")),
        optional=True,
    )
    for name, source in (
        ("fraudfed.boosting.engine._engine", "fraudfed/boosting/engine/_engine.c"),
        ("fraudfed.paillier.kernels._adx", "fraudfed/paillier/kernels/_adx.c"),
        ("fraudfed.paillier.kernels._ifma", "fraudfed/paillier/kernels/_ifma.c"),
        ("fraudfed.privacy.noise._sampler", "fraudfed/privacy/noise/_sampler.c"),
        ("fraudfed.secure_sum._packing", "fraudfed/secure_sum/_packing.c"),
    )
    if os.path.exists(source)  # noqa: PTH110 - a build script runs in its own folder
]

setup(ext_modules=[] if os.environ.get("FRAUDFED_NO_EXT") == "1" else EXTENSIONS)
