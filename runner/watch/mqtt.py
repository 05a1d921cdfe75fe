"""Send the events of a watch to an MQTT broker."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from skyduel.core.errors import ArgumentError
from skyduel.core.extras import missing_extra

__all__ = ["PASSWORD", "Broker", "broker_of", "mqtt_events"]

#: Variable of the environment with the password.
PASSWORD: Final = "SKYDUEL_MQTT_PASSWORD"
#: Messages that wait while the broker cannot be reached; later ones are lost.
_MOST_WAITING: Final = 10_000
#: How long the end of the watch waits for messages that are on their way [s].
_LAST_S: Final = 10.0


@dataclass(frozen=True)
class Broker:
    """An MQTT broker and the topic above all messages."""

    host: str
    port: int
    topic: str
    user: str | None
    tls: bool


def broker_of(url: str) -> Broker:
    """Return the broker that an address names.

    Parameters
    ----------
    url : str
        ``mqtt://[USER@]HOST[:PORT][/TOPIC]``, or ``mqtts://`` with TLS. The topic is ``skyduel``
        by default.

    Raises
    ------
    BadInputError
        If it is no such address.
    """
    required = "mqtt://[USER@]HOST[:PORT][/TOPIC], or mqtts://"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ArgumentError("url", required, repr(url)) from error
    if parts.password:
        wanted = f"{required}; the password in {PASSWORD}"
        raise ArgumentError("url", wanted, "an address with a password")
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or set(url) & set("?#"):
        raise ArgumentError("url", required, repr(url))
    topic = unquote(parts.path).strip("/") or "skyduel"
    if set(topic) & set("+#\0"):
        raise ArgumentError("url", "a topic without + and #", repr(topic))
    tls = parts.scheme == "mqtts"
    user = None if parts.username is None else unquote(parts.username)
    return Broker(parts.hostname, port or (8883 if tls else 1883), topic, user, tls)


@contextmanager
def mqtt_events(
    broker: Broker, warn: Callable[[str], None]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Connect to a broker, and return a function that publishes an event.

    Parameters
    ----------
    broker : Broker
        The broker. It need not be reachable: the connection is tried again, and messages wait.
    warn : callable
        Gets a line when the connection fails or ends, and when it is there again.

    Yields
    ------
    callable
        Publishes an event as ``TOPIC/KIND`` with quality of service 1. ``TOPIC/status`` is
        ``online`` meanwhile and then ``offline`` (retained; a last will).

    Raises
    ------
    BadInputError
        If paho-mqtt is not installed.
    """
    try:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion
    except ModuleNotFoundError as error:
        raise missing_extra("mqtt", error) or error from None

    place = f"{broker.host}:{broker.port}"
    connected = threading.Event()

    def on_connect(
        client: paho.Client, userdata: object, flags: object, reason: Any, properties: object
    ) -> None:
        if reason.is_failure:
            warn(f"MQTT broker {place} refuses the connection: {reason}")
            return
        connected.set()
        client.publish(f"{broker.topic}/status", "online", qos=1, retain=True)

    def on_disconnect(
        client: paho.Client, userdata: object, flags: object, reason: Any, properties: object
    ) -> None:
        if reason.is_failure and connected.is_set():
            connected.clear()
            warn(f"MQTT broker {place}: the connection is lost ({reason}); tried again")

    def on_connect_fail(client: paho.Client, userdata: object) -> None:
        if not failed.is_set():
            failed.set()
            warn(f"MQTT broker {place} cannot be reached; tried again, events wait meanwhile")

    failed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(_MOST_WAITING)
    client.will_set(f"{broker.topic}/status", "offline", qos=1, retain=True)
    if broker.user is not None:
        client.username_pw_set(broker.user, os.environ.get(PASSWORD))
    if broker.tls:
        client.tls_set()
    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    client.on_connect_fail = on_connect_fail
    client.connect_async(broker.host, broker.port)
    client.loop_start()
    last: list[Any] = []

    def publish(event: dict[str, Any]) -> None:
        text = json.dumps(event, ensure_ascii=False, allow_nan=False)
        last[:] = [client.publish(f"{broker.topic}/{event['event']}", text, qos=1)]

    try:
        yield publish
    finally:
        if connected.is_set():
            last.append(client.publish(f"{broker.topic}/status", "offline", qos=1, retain=True))
            for message in last:
                try:
                    message.wait_for_publish(_LAST_S)
                except (RuntimeError, ValueError):  # the queue was full, or the connection is lost
                    warn(f"MQTT broker {place}: the last events were not sent")
        client.disconnect()
        client.loop_stop()
