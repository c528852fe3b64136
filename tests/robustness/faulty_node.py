"""`python -m tests.robustness.faulty_node FAULT FLAGS..`: a node whose disk fails (see `disks`)."""

from __future__ import annotations

import os
import sys

from etcdshim.server import run
from racos.node.config import parse
from tests.robustness.disks import Fault

if __name__ == "__main__":
    fault = Fault.parse(sys.argv[1])
    sys.exit(run(parse(sys.argv[2:], os.environ), fault.disk))
