// SPDX-License-Identifier: MIT
//
// OpenAI's own Node client against the real daemon, with the demo model in a real llama.cpp worker.
// Run by `node --test`; the programs' paths come in POOL_MANAGERD, POOL_WORKER, DEMO_MODEL. Every wait is
// for a line of the daemon's log or for the client.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import OpenAI from "openai";

let directory, daemon, address, client;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "pool-openai-"));
  await writeFile(join(directory, "catalog.toml"), `
[[model]]
id = "demo"
file = "${process.env.DEMO_MODEL}"
capability = "text_to_text"
est_memory_allocation_mb = 256
backend = "pool-worker"
slots = 2
max_workers = 1

[[model]]
id = "demo-embed"
file = "${process.env.DEMO_MODEL}"
capability = "text_embedding"
est_memory_allocation_mb = 256
backend = "pool-worker"
`);
  await writeFile(join(directory, "pool.toml"), `
[pool]
state_dir = "state"
[http]
listen = ["127.0.0.1:0"]
[catalog]
files = ["catalog.toml"]
[log]
format = "json"
`);
  daemon = spawn(process.env.POOL_MANAGERD, ["--config", join(directory, "pool.toml")],
                 { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: daemon.stderr })) {
    const record = JSON.parse(line);
    if (record.message === "serving") {
      address = record.address;
      break;
    }
  }
  assert.ok(address, "the daemon did not start");
  daemon.stderr.resume();
  client = new OpenAI({ baseURL: `http://${address}/v1`, apiKey: "unused", maxRetries: 0 });
});

after(async () => {
  daemon.kill("SIGTERM");
  const [code] = await once(daemon, "exit");
  await rm(directory, { recursive: true });
  assert.equal(code, 0, "a clean stop");
});

const messages = [{ role: "user", content: "the sea" }];

test("lists and retrieves models", async () => {
  const models = await client.models.list();
  assert.deepEqual(models.data.map((model) => model.id), ["demo", "demo-embed"]);
  assert.equal((await client.models.retrieve("demo")).object, "model");
});

test("completes a chat", async () => {
  const answer = await client.chat.completions.create({
    model: "demo", messages, max_tokens: 12, temperature: 0 });
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
  assert.equal(answer.usage.total_tokens,
               answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("streams the same words", async () => {
  const request = { model: "demo", messages, max_tokens: 12, temperature: 0 };
  const whole = await client.chat.completions.create(request);
  const stream = await client.chat.completions.create({
    ...request, stream: true, stream_options: { include_usage: true } });
  let text = "", chunks = 0, finish, usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
    chunks++;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(finish, whole.choices[0].finish_reason);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  assert.ok(chunks > 2, "more than one piece");
});

test("a seed repeats an answer", async () => {
  const request = { model: "demo", messages, max_tokens: 12, temperature: 1, seed: 7 };
  const [first, second] = [await client.chat.completions.create(request),
                           await client.chat.completions.create(request)];
  assert.equal(first.choices[0].message.content, second.choices[0].message.content);
});

test("completes a prompt, streamed", async () => {
  const stream = await client.completions.create({
    model: "demo", prompt: "the sea", max_tokens: 5, stream: true });
  let text = "";
  for await (const chunk of stream)
    text += chunk.choices[0]?.text ?? "";
  assert.ok(text.length > 0);
});

test("embeds", async () => {
  // The client asks for base64 by itself and decodes it; floats are the other form.
  const packed = await client.embeddings.create({
    model: "demo-embed", input: ["the sea", "the sky"] });
  const plain = await client.embeddings.create({
    model: "demo-embed", input: "the sea", encoding_format: "float" });
  assert.equal(packed.data.length, 2);
  const length = Math.hypot(...packed.data[0].embedding);
  assert.ok(Math.abs(length - 1) < 1e-3, `length ${length}`);
  packed.data[0].embedding.forEach((value, i) =>
    assert.ok(Math.abs(value - plain.data[0].embedding[i]) < 1e-6));
});

test("an abort cancels and frees the slot", async () => {
  for (let i = 0; i < 4; i++) {
    const stream = await client.chat.completions.create({
      model: "demo", messages, max_tokens: 1500, stream: true });
    for await (const _ of stream)
      break; // the client closes the connection
  }
  const answer = await client.chat.completions.create({ model: "demo", messages, max_tokens: 3 });
  assert.ok(answer.choices[0]);
});

test("many at once are all served by the one worker", async () => {
  const answers = await Promise.all(Array.from({ length: 32 }, () =>
    client.chat.completions.create({ model: "demo", messages, max_tokens: 4 })));
  assert.equal(answers.length, 32);
  const state = await (await fetch(`http://${address}/v2/state`)).json();
  assert.equal(state.models.find((model) => model.id === "demo").workers, 1);
});

test("errors are OpenAI errors", async () => {
  await assert.rejects(client.chat.completions.create({ model: "nobody", messages }),
                       (error) => error instanceof OpenAI.NotFoundError &&
                                  error.code === "MODEL_NOT_FOUND" && error.param === "model");
  await assert.rejects(client.chat.completions.create({ model: "demo", messages, temperature: 9 }),
                       (error) => error instanceof OpenAI.BadRequestError);
  await assert.rejects(
    client.completions.create({ model: "demo", prompt: "the sea ".repeat(20000) }),
    (error) => error instanceof OpenAI.BadRequestError && error.code === "CONTEXT_EXCEEDED");
});
