"""An agent or an operator by paho-mqtt, for the interop tests. Prints one line for each thing that happens."""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

role, version, host, port, ca, name, secret, target = sys.argv[1:9]
v5 = version == "5"


def say(*words):
    print(*words, flush=True)


def connected(client, userdata, flags, reason, properties):
    say("connected", reason)
    if reason.is_failure:
        client.disconnect()
    elif role == "agent":
        client.subscribe(f"wake/v1/agents/{name}/commands", qos=1)
    elif v5:
        client.subscribe("wake/v1/operators/admin/responses/#", qos=1)
    else:
        submit(client)


def submit(client):
    properties = None
    if v5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "wake/v1/operators/admin/responses/paho"
        properties.CorrelationData = b"paho-1"
    payload = json.dumps({"kind": "wake", "reason": f"paho {version}"})
    client.publish(f"wake/v1/agents/{target}/commands", payload, qos=1, properties=properties)


def subscribed(client, userdata, mid, reasons, properties):
    say("subscribed", *reasons)
    if role == "operator":
        submit(client)


def message(client, userdata, message):
    payload = json.loads(message.payload)
    if role == "agent":
        say("woken", payload["id"], payload["reason"])
        receipt = json.dumps({"id": payload["id"], "state": "done", "detail": "by paho"})
        client.publish(f"wake/v1/agents/{name}/receipts", receipt, qos=1)
    else:
        assert message.properties.CorrelationData == b"paho-1"
        say("state", payload["state"])
        if payload["state"] == "done":
            client.disconnect()


def published(client, userdata, mid, reason, properties):
    say("published", reason)
    # An agent has said what became of the command; an operator of 3.1.1 is told no more.
    if role == "agent" or not v5:
        client.disconnect()


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id=name if role == "agent" else "",
    protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
)
client.username_pw_set(name, secret)
client.tls_set(ca_certs=ca)
client.on_connect, client.on_subscribe = connected, subscribed
client.on_message, client.on_publish = message, published
client.connect(host, int(port), keepalive=30)
client.loop_forever(retry_first_connection=False)
