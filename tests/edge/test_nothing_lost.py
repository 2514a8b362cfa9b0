"""Whatever happens to broker, network and process: every event arrives, once, in order, counted.

The invariant of every test here, after a subscriber's deduplication by `id`: what was appended and
not counted as dropped has arrived, in `seq` order within its `boot_id`, and nothing else has.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from realbroker import CONTINUE, STOP, Ear, Mosquitto, eventually
from test_outbox import event
from tools.faultproxy import FaultProxy

