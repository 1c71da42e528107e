// The official A2A client for JavaScript, over the JSON-RPC binding of A2A 1.0.
//
// The program's only argument is a JSON object:
//   "url": "..", "token": ".."       the server whose card is read
//   "messages": [{ "skill": "..", "data": {..} or "text": "..", "stream": true }]
// Prints one line of JSON: the card, what came back for each message (a list of payloads
// when streamed), then the tasks as GetTask and ListTasks know them, all as on the wire.

import { randomUUID } from "node:crypto";

import { AgentCard, Message, Role, StreamResponse, Task, TaskState } from "@a2a-js/sdk";
import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
} from "@a2a-js/sdk/client";

const job = JSON.parse(process.argv[2]);

const fetchImpl = (input, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${job.token}`);
  return fetch(input, { ...init, headers });
};

const factory = new ClientFactory({
  transports: [new JsonRpcTransportFactory({ fetchImpl })],
  cardResolver: new DefaultAgentCardResolver(), // the card is public: read without the token
});

const requestOf = ({ skill, data, text }) => ({
  tenant: "",
  message: {
    messageId: randomUUID(),
    contextId: "",
    taskId: "",
    role: Role.ROLE_USER,
    parts: [
      {
        content: data ? { $case: "data", value: data } : { $case: "text", value: text },
        metadata: undefined,
        filename: "",
        mediaType: "",
      },
    ],
    metadata: skill ? { "llmspell/skill": skill } : undefined,
    extensions: [],
    referenceTaskIds: [],
  },
  configuration: undefined,
  metadata: undefined,
});

const card = await new DefaultAgentCardResolver().resolve(job.url);
const client = await factory.createFromAgentCard(card);
const answers = [];
const ids = [];
for (const message of job.messages) {
  try {
    if (message.stream) {
      const payloads = [];
      for await (const item of client.sendMessageStream(requestOf(message))) {
        payloads.push(StreamResponse.toJSON(item));
      }
      answers.push({ stream: payloads });
    } else {
      const sent = await client.sendMessage(requestOf(message));
      const isTask = "status" in sent;
      if (isTask) ids.push(sent.id);
      answers.push(isTask ? { task: Task.toJSON(sent) } : { message: Message.toJSON(sent) });
    }
  } catch (error) {
    answers.push({ error: { name: error.name, message: error.message } });
  }
}
const tasks = [];
for (const id of ids) tasks.push(Task.toJSON(await client.getTask({ tenant: "", id })));
const { tasks: listed } = await client.listTasks({
  tenant: "",
  contextId: "",
  status: TaskState.TASK_STATE_UNSPECIFIED,
  pageToken: "",
  statusTimestampAfter: undefined,
});
console.log(
  JSON.stringify({
    card: AgentCard.toJSON(card),
    answers,
    tasks,
    listed: listed.map((task) => task.id),
  }),
);
