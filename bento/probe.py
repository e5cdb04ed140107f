"""Does a server answer? `python -m bento.probe URL` is the images' health check.

They hold no curl. Exit status 0: an answer below 400 within three seconds, else 1.
"""

import sys
import urllib.request

TIMEOUT_S = 3.0


def main() -> int:
    """Ask the URL on the command line; says on stderr why it is not well."""
    url = sys.argv[1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S):
            return 0
    except (OSError, ValueError) as error:  # HTTPError and URLError are OSErrors
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
