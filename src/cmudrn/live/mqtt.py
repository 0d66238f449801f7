"""Weather score and health of a stream to an MQTT broker, with Home Assistant's discovery."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from cmudrn.errors import InvalidSettingError
from cmudrn.live.outputs import Tell
from cmudrn.live.status import LiveStatus
from cmudrn.version import __version__

INTERVAL_S = 1.0
"""Seconds between two messages, at least."""
PORTS = {"mqtt": 1883, "mqtts": 8883}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_SENSORS: Mapping[str, Mapping[str, Any]] = {
    "weather": {
        "name": "Weather", "device_class": "enum", "options": ["rain", "snow", "clear"],
        "value_template": "{{ value_json.weather }}",
    },
    "rain": {
        "name": "Rain score", "unit_of_measurement": "%",
        "value_template": "{{ (100 * value_json.score.rain) | round(1) }}",
    },
    "snow": {
        "name": "Snow score", "unit_of_measurement": "%",
        "value_template": "{{ (100 * value_json.score.snow) | round(1) }}",
    },
    "latency": {
        "name": "Latency", "unit_of_measurement": "ms", "device_class": "duration",
        "entity_category": "diagnostic", "value_template": "{{ value_json.latency_ms }}",
    },
    "stream": {
        "name": "Stream", "platform": "binary_sensor", "device_class": "connectivity",
        "value_template": "{{ 'ON' if value_json.state == 'LIVE' else 'OFF' }}",
    },
}  # fmt: skip


class MqttReporter:
    """Publishes `LiveStatus.to_json` at most once a second, from threads of its own.

    | topic | content |
    |---|---|
    | cmudrn/NAME/state | the JSON, retained |
    | cmudrn/NAME/availability | online; offline once the program is gone, retained |
    | homeassistant/device/cmudrn_NAME/config | Home Assistant's discovery of a device, retained |

    A broker that is away delays nothing and is tried again.

    Args:
        status: of the watch.
        address: mqtt://[USER[:PASSWORD]@]HOST[:PORT][/NAME] or mqtts:// for TLS; NAME is "camera"
            if left out.
        tell: told of "MQTT" when the broker is there, and "NOTE" when it refuses or is lost.
        password: of the user, where the address has none.

    Raises:
        InvalidSettingError: the address is none.
    """

    def __init__(
        self, status: LiveStatus, address: str, tell: Tell, password: str | None = None
    ) -> None:
        parts, port = _parse(address)
        self._name = parts.path.strip("/") or "camera"
        self._status, self._tell = status, tell
        self._place = f"mqtt://{parts.hostname}:{port}"
        self._scored = False
        self._closed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        if parts.username:
            self._client.username_pw_set(
                unquote(parts.username), unquote(parts.password) if parts.password else password
            )
        if parts.scheme == "mqtts":
            self._client.tls_set_context(ssl.create_default_context())
        self._client.will_set(self._topic("availability"), "offline", retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.reconnect_delay_set(1, 30)
        self._client.connect_async(str(parts.hostname), port)
        self._client.loop_start()
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        """Say that the stream is gone, and disconnect."""
        self._closed.set()
        if self._client.is_connected():
            sent = self._client.publish(self._topic("availability"), "offline", retain=True)
            sent.wait_for_publish(1)
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, name: str) -> str:
        return f"cmudrn/{self._name}/{name}"

    def _run(self) -> None:
        while not self._closed.wait(INTERVAL_S):
            if self._client.is_connected():
                state = self._status.to_json()
                self._announce(scored=state["score"] is not None)
                self._client.publish(self._topic("state"), json.dumps(state), retain=True)

    def _announce(self, *, scored: bool) -> None:
        """Describe the device anew once it has a score."""
        if scored and not self._scored:
            self._scored = True
            self._describe()

    def _describe(self) -> None:
        topic = f"homeassistant/device/cmudrn_{self._name}/config"
        self._client.publish(topic, json.dumps(self._discovery()), retain=True)

    def _discovery(self) -> Mapping[str, Any]:
        identifier = f"cmudrn_{self._name}"
        scores = () if self._scored else ("weather", "rain", "snow")
        return {
            "device": {"identifiers": [identifier], "name": f"CMUDRN {self._name}"},
            "origin": {"name": "cmudrn", "sw_version": __version__},
            "state_topic": self._topic("state"),
            "availability_topic": self._topic("availability"),
            "components": {
                key: {"platform": "sensor", "unique_id": f"{identifier}_{key}", **sensor}
                for key, sensor in _SENSORS.items()
                if key not in scores
            },
        }

    def _on_connect(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self._tell("NOTE", f"{self._place} refuses: {reason}.")
            return
        self._describe()
        self._client.publish(self._topic("availability"), "online", retain=True)
        self._tell("MQTT", f"Connected to {self._place}.")

    def _on_disconnect(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if not self._closed.is_set():
            self._tell("NOTE", f"{self._place} is lost: {reason}.")


def _parse(address: str) -> tuple[Any, int]:
    try:
        parts = urlsplit(address)
        port = parts.port or PORTS[parts.scheme]
        name = parts.path.strip("/")
        if parts.hostname and (not name or _NAME.fullmatch(name)):
            return parts, port
    except (ValueError, KeyError):
        pass
    raise InvalidSettingError(
        "A broker is mqtt://[USER[:PASSWORD]@]HOST[:PORT][/NAME], with a name of letters, digits, "
        "_ and -.",
        setting="mqtt",
    )
