"""Print docs/error-rates.md."""

import argparse
import sys

from descent.claims.error_rates.document import page

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print docs/error-rates.md.")
    parser.add_argument("--draws", type=int, default=4000, help="simulated sets of records a line (default 4000)")
    sys.stdout.write(page(parser.parse_args().draws))
