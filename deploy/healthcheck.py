"""Ask the aggregator of this container or machine how it is; exit code 0 if it answers 200.

Needs nothing but Python: the address stands in the state directory. The certificate is not
checked, because it is not made for loopback, and nothing but the status is taken from the answer.
"""

import argparse
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

_SECONDS = 6.0


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", required=True, type=Path, help="the aggregator's directory")
    parser.add_argument("--path", default="/v1/ready", help="/v1/ready or /v1/health")
    options = parser.parse_args()
    try:
        served = urlsplit((options.state / "url").read_text().strip())
    except OSError as error:
        print(f"no service runs on {options.state}: {error.strerror}")
        return 1
    # A service that listens on all addresses is asked on loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(  # noqa: S104
        served.hostname or "", f"[{served.hostname}]" if ":" in (served.hostname or "") else ""
    )
    url = f"{served.scheme}://{host or served.hostname}:{served.port}{served.path}{options.path}"
    context = ssl._create_unverified_context() if served.scheme == "https" else None  # noqa: S323
    opener = urllib.request.build_opener(
        # No proxy of the environment stands between a service and its own loopback.
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=context),
    )
    try:
        with opener.open(url, timeout=_SECONDS) as answer:
            print(f"{options.path}: {answer.status}")
            return 0 if answer.status == 200 else 1
    except urllib.error.HTTPError as error:
        print(f"{options.path}: {error.code} {error.read(2000).decode(errors='replace')}")
        return 1
    except OSError as error:
        print(f"{options.path}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
