// An agent by MQTT.js over WebSocket, for the interop tests. Prints one line for each thing that happens.

"use strict";

const fs = require("node:fs");
const mqtt = require("mqtt");

const [url, version, ca, name, secret] = process.argv.slice(2);

const client = mqtt.connect(url, {
  ca: fs.readFileSync(ca),
  clientId: name,
  username: name,
  password: secret,
  protocolVersion: Number(version),
  keepalive: 30,
  reconnectPeriod: 0,
});

client.on("connect", () => {
  client.subscribe(`wake/v1/agents/${name}/commands`, { qos: 1 }, (error, granted) => {
    if (error) throw error;
    console.log("subscribed", granted[0].qos);
  });
});

client.on("message", (topic, payload) => {
  const command = JSON.parse(payload);
  console.log("woken", command.id);
  const receipt = JSON.stringify({ id: command.id, state: "done", detail: "by MQTT.js" });
  client.publish(`wake/v1/agents/${name}/receipts`, receipt, { qos: 1 }, (error) => {
    if (error) throw error;
    console.log("published");
    client.end();
  });
});

client.on("error", (error) => console.log("error", error.message));
