"""The Node-RED flow, imported into a real Node-RED, with a real broker and a real run."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from npm import installed
from paho.mqtt.publish import single
from realbroker import Ear, Mosquitto, eventually, free_port, program

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
FLOW = ROOT / "examples" / "node-red" / "flow.json"
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
EVENTS = "mien/lobby/camera/door/event"
MOOD = "node-red/mien/lobby/door/mood"
ALERT = "node-red/mien/lobby/alert"
START_S = 60.0
"""How long Node-RED may take to its start; two seconds where nothing else runs."""

SETTINGS = """module.exports = {
    uiHost: "127.0.0.1", uiPort: %d, flowFile: "flows.json", credentialSecret: false,
    telemetry: { enabled: false, updateNotification: false },
    logging: { console: { level: "info", metrics: false, audit: false } },
};
"""


class NodeRed:
    """One that runs on a folder of its own, without a flow."""

    def __init__(self, folder: Path) -> None:
        node, programs = installed()
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        settings = folder / "settings.js"
        settings.write_text(SETTINGS % port)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [node, programs / "node_modules/node-red/red.js", "-u", folder, "-s", settings],
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def deploy(self, flow: list[dict[str, Any]]) -> None:
        """Import a flow as the editor does."""
        self._asked("POST", {"flows": flow})

    def flow(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._asked("GET")["flows"]
        return found

    def _asked(self, method: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  # our own http://127.0.0.1
            f"{self._url}/flows",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Node-RED-API-Version": "v2"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # likewise
            found: dict[str, Any] = json.load(answer)
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(program("mosquitto", "mosquitto"), tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def ear(broker: Mosquitto) -> Iterator[Ear]:
    made = Ear(broker.port, "#")
    yield made
    made.close()


@pytest.fixture
def node_red(tmp_path: Path) -> Iterator[NodeRed]:
    folder = tmp_path / "node-red"
    folder.mkdir()
    made = NodeRed(folder)
    try:
        eventually(lambda: "Started flows" in made.log, "Node-RED's start", START_S)
        yield made
    finally:
        made.close()


def flow_for(broker: Mosquitto) -> list[dict[str, Any]]:
    """The example, with the one change that its reader makes: where the broker is."""
    flow: list[dict[str, Any]] = json.loads(FLOW.read_text())
    (server,) = (node for node in flow if node["type"] == "mqtt-broker")
    server.update(broker="127.0.0.1", port=str(broker.port))
    return flow


def complaints(node_red: NodeRed) -> list[str]:
    """What Node-RED says of a flow that it does not like, from its import on."""
    _, _, told = node_red.log.partition("Updated flows")
    signs = ("[warn]", "[error]", "unknown", "missing")
    return [line for line in told.splitlines() if any(sign in line.lower() for sign in signs)]


def mood(event: dict[str, Any]) -> str:
    if event["emotion"] in {"angry", "disgust", "fear", "sad"}:
        return "unhappy"
    return "happy" if event["emotion"] == "happy" else "other"


def test_the_flow_tells_each_event_of_a_run_once_by_what_the_face_shows(
    tmp_path: Path, broker: Mosquitto, ear: Ear, node_red: NodeRed
) -> None:
    flow = flow_for(broker)
    node_red.deploy(flow)
    eventually(lambda: "Connected to broker" in node_red.log, f"the broker: {node_red.log}")
    assert node_red.flow() == flow, "imported as it is"

    config = tmp_path / "mien.toml"
    config.write_text(
        'device_id = "lobby"\n[spool]\nenabled = false\n'
        f'[[camera]]\nname = "door"\nuri = "clip:{SAMPLE}?pace=fast"\n'
        f'[mqtt]\nurl = "{broker.url}"\n'
    )
    command = [sys.executable, "-m", "edge", "run", "--config", str(config)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    ear.wait(ALERT)
    assert ear.texts(ALERT) == ["the device is gone"]

    events = ear.json(EVENTS)
    assert len(events) >= 4
    # What came before, what is no news, and then one of each other mood.
    last = events[-1]
    told = [
        last,
        {**last, "id": "old", "replayed": True},
        {**last, "id": "sad", "emotion": "sad"},
        {**last, "id": "unsure", "emotion": "unsure"},
    ]
    for event in told:
        single(EVENTS, json.dumps(event), qos=1, port=broker.port)
    new = [event for event in events if not event["replayed"]] + told[2:]
    ear.wait(MOOD, len(new))
    assert ear.texts(MOOD) == [mood(event) for event in new]
    assert {"happy", "unhappy", "other"} == set(ear.texts(MOOD))

    assert complaints(node_red) == []


def test_a_flow_that_node_red_does_not_understand_would_be_noticed(
    broker: Mosquitto, node_red: NodeRed
) -> None:
    stranger = {"id": "stranger", "type": "no-such-node", "z": "mien", "x": 1, "y": 1, "wires": []}
    node_red.deploy([*flow_for(broker), stranger])
    eventually(lambda: bool(complaints(node_red)), "a complaint")
