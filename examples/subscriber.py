"""Prints who appears, changes and leaves before any Mien device: subscriber.py HOST PORT."""

import json
import sys
from collections import deque

from paho.mqtt.subscribe import callback


def hear(_client, seen, message):
    event = json.loads(message.payload)
    if event["id"] not in seen:  # delivery is at least once
        seen.append(event["id"])
        print(event["ts"], event["camera"], event["type"], event["emotion"], flush=True)


callback(hear, "mien/+/camera/+/event", 1, deque(maxlen=1000), sys.argv[1], int(sys.argv[2]))
