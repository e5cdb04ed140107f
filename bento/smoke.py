"""Does the code in this folder score these customers? Run in a child process before a release.

`python -m bento.smoke CHAMPION_FOLDER < customers.json` prints P(leave) of each customer,
after loading the HTTP service too, so that a module left out of a Bento is found here.
"""

import sys
from pathlib import Path

import msgspec

from bento.decoding import decode
from bento.runner import ChurnRunner


def main() -> None:
    """Score standard input; one customer at a time and all at once must agree."""
    import bento.service  # noqa: F401  the Bento must hold all that the service imports

    customers = decode(sys.stdin.buffer.read())
    if not isinstance(customers, list):
        customers = [customers]
    runner = ChurnRunner(Path(sys.argv[1]))
    scores = runner.score(customers).tolist()
    if scores != [runner.score([customer])[0].item() for customer in customers]:
        raise SystemExit("single and batch scores differ")
    answer = {"code": str(Path(__file__).parent), "scores": scores}
    sys.stdout.write(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main()
