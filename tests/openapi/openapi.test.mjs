// SPDX-License-Identifier: MIT
//
// docs/openapi.yaml against the daemon: its table of routes, the lists in the headers, and every
// answer of a running daemon, errors included. Run by `node --test`; the programs' paths come in
// POOL_MANAGERD, POOL_WORKER, FAKE_WORKER. Waits are for a line of the daemon's log or for a state
// that it shows.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { parse } from "yaml";

const root = fileURLToPath(new URL("../..", import.meta.url));
const openapi = parse(await readFile(join(root, "docs/openapi.yaml"), "utf8"), { merge: true });

// ---- schemas ----

// Clients skip what they do not know; this test wants to hear of it.
function close(node) {
  if (node === null || typeof node !== "object")
    return;
  if (node.type === "object" && node.properties && node.additionalProperties === undefined)
    node.additionalProperties = false;
  Object.values(node).forEach(close);
}

const closed = structuredClone(openapi);
close(closed.components);
const ajv = new Ajv({ strict: false, validateSchema: false, allErrors: true });
addFormats(ajv);
ajv.addSchema(closed, "openapi");

const validators = new Map();

// The validator of a place in the document.
function validator(...steps) {
  const pointer = steps.map((step) => encodeURIComponent(
    String(step).replaceAll("~", "~0").replaceAll("/", "~1"))).join("/");
  if (!validators.has(pointer))
    validators.set(pointer, ajv.compile({ $ref: `openapi#/${pointer}` }));
  return validators.get(pointer);
}

// Follows a reference; returns where that is, and what.
function follow(...steps) {
  const node = steps.reduce((at, step) => at[step], openapi);
  return node.$ref ? follow(...node.$ref.slice(2).split("/")) : { steps, node };
}

// "/v2/workers/w-1" is "/v2/workers/{worker_id}"; fixed paths come first.
function describedPath(path) {
  const bare = path.split("?")[0];
  const fits = (pattern) => new RegExp(
    `^${pattern.replace("{model}", ".+").replace(/\{\w+\}/g, "[^/]+")}$`).test(bare);
  const paths = Object.keys(openapi.paths);
  return paths.find((pattern) => pattern === bare) ?? paths.find(fits);
}

// What the daemon may answer though no operation lists it.
const anywhere = new Set([404, 405, 500]);
const seen = new Set();

// Checks an answer against the operation that it belongs to.
function check(method, path, answer) {
  const pattern = describedPath(path);
  const operation = openapi.paths[pattern]?.[method.toLowerCase()];
  const place = `${method} ${path}: ${answer.status} ${answer.text.slice(0, 400)}`;
  if (!operation) {
    assert.ok(anywhere.has(answer.status), place);
    return checkContent(follow("components", "responses", `Error${answer.status}`), answer, place);
  }
  const responses = ["paths", pattern, method.toLowerCase(), "responses"];
  assert.ok(operation.responses[answer.status], `not described: ${place}`);
  seen.add(`${method} ${pattern}`);
  checkContent(follow(...responses, answer.status), answer, place);
}

function checkContent({ steps, node }, answer, place) {
  for (const [name, header] of Object.entries(node.headers ?? {})) {
    const value = answer.headers[name.toLowerCase()];
    assert.ok(value !== undefined || name === "Retry-After", `no ${name}: ${place}`);
    if (value !== undefined)
      validate(validator(...follow(...header.$ref.slice(2).split("/")).steps, "schema"), value,
               place);
  }
  assert.match(answer.headers["x-correlation-id"], /^[a-zA-Z0-9-]{1,64}$/);
  if (!node.content)
    return assert.equal(answer.text, "", place);
  const media = answer.headers["content-type"].split(";")[0];
  assert.ok(node.content[media], `${media} is not described: ${place}`);
  const value = media === "application/json" ? JSON.parse(answer.text) : answer.text;
  validate(validator(...steps, "content", media, "schema"), value, place);
  if (value.error)
    assert.equal(value.error.http_status, answer.status, place);
  else
    assert.ok(!answer.text.includes("spawn_token"), place);
}

function validate(valid, value, place) {
  assert.ok(valid(value), `${ajv.errorsText(valid.errors)} in ${place}`);
}

// ---- the daemon ----

let directory, daemon, guarded;

async function startDaemon(name, http) {
  await writeFile(join(directory, `${name}.toml`), `
[pool]
pool_id = "described"
state_dir = "${name}-state"
[http]
listen = ["127.0.0.1:0"]
${http}
[memory]
cpu = "64MiB"
[catalog]
files = ["catalog.toml"]
[log]
format = "json"
[backends.stub]
command = ["${process.env.POOL_WORKER}", "--engine", "stub", "--model", "{model_path}",
           "--model-id", "{model_id}", "--worker-id", "{worker_id}", "--socket", "{socket}",
           "--slots", "{slots}", "--ready-url", "{ready_url}"]
env = { POOL_WORKER_SPAWN_TOKEN = "{spawn_token}" }
readiness = "callback"
device = "cpu"
[backends.patient]
command = ["${process.env.FAKE_WORKER}", "{model_path}", "{port}"]
env = { POOL_WORKER_SPAWN_TOKEN = "{spawn_token}", READY_URL = "{ready_url}" }
readiness = "callback"
device = "cpu"
`);
  const child = spawn(process.env.POOL_MANAGERD, ["--config", join(directory, `${name}.toml`)],
                      { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: child.stderr })) {
    assert.ok(line.startsWith("{"), line);
    const record = JSON.parse(line);
    if (record.message === "serving") {
      child.stderr.resume();
      return { child, address: record.address };
    }
  }
  assert.fail(`the daemon ${name} did not start`);
}

async function stopDaemon({ child }) {
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  assert.equal(code, 0, "a clean stop");
}

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "pool-openapi-"));
  const model = (id, more) => `[[model]]\nid = "${id}"\nfile = "${id.replace("/", "-")}.stub"\n` +
    `capability = "text_to_text"\nest_memory_allocation_mb = 8\n${more}\n`;
  await writeFile(join(directory, "catalog.toml"),
    model("org/m", 'backend = "stub"\naliases = ["tiny", "small"]\nname = "M"') +
    model("broken", 'backend = "stub"') + model("dying", 'backend = "stub"') +
    model("patient", 'backend = "patient"') + model("missing", 'backend = "stub"') +
    model("giant", 'backend = "stub"').replace("_mb = 8", "_mb = 100000") +
    model("far", 'backend = "stub"\ndevice = "gpu7"'));
  await writeFile(join(directory, "org-m.stub"), "tokens=4\n");
  await writeFile(join(directory, "broken.stub"), "fail=MODEL_ERROR:it is broken\n");
  await writeFile(join(directory, "dying.stub"), "tokens=4\ncrash=1\n");
  await writeFile(join(directory, "patient.stub"), "show=POOL_WORKER_SPAWN_TOKEN\n");
  await writeFile(join(directory, "giant.stub"), "tokens=4\n");
  await writeFile(join(directory, "far.stub"), "tokens=4\n");
  daemon = await startDaemon("pool", "");
});

after(async () => {
  await stopDaemon(daemon);
  if (guarded)
    await stopDaemon(guarded);
  await rm(directory, { recursive: true });
});

function send(method, path, { body, headers = {}, to = daemon } = {}) {
  const [host, port] = to.address.split(":");
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const call = request({ host, port, method, path, headers: {
      ...(text === undefined ? {} : { "content-length": Buffer.byteLength(text) }), ...headers,
    } }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => resolve({
        status: response.statusCode, headers: response.headers,
        text: Buffer.concat(pieces).toString() }));
    });
    call.on("error", reject);
    call.end(text);
  });
}

// Sends, wants the status, checks against the description, returns the JSON.
async function wants(status, method, path, options) {
  const answer = await send(method, path, options);
  assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
  check(method, path, answer);
  const json = answer.headers["content-type"]?.startsWith("application/json");
  return json ? JSON.parse(answer.text) : answer.text;
}

async function wantsError(status, code, method, path, options) {
  const answer = await wants(status, method, path, options);
  assert.equal(answer.error.code, code);
  return answer.error;
}

const start = (body) => ({ body });
const chat = (model, more) => ({
  body: { model, messages: [{ role: "user", content: "one two" }], temperature: 0, ...more } });

// Asks until it is so. The limit only ends a test that would go on for ever.
async function until(path, holds) {
  const end = Date.now() + 60000;
  for (;;) {
    const value = await wants(200, "GET", path);
    if (holds(value))
      return value;
    assert.ok(Date.now() < end, `${path} stays ${JSON.stringify(value)}`);
  }
}

// ---- the document ----

test("is an OpenAPI 3.1 document", async () => {
  const checker = new Validator();
  const result = await checker.validate(structuredClone(openapi));
  assert.ok(result.valid, JSON.stringify(result.errors, null, 1));
  assert.equal(checker.version, "3.1");
});

test("each schema is one", () => {
  const strict = new Ajv({ strict: true, strictRequired: false, strictTypes: false,
                           allowUnionTypes: true });
  addFormats(strict);
  for (const [name, schema] of Object.entries(openapi.components.schemas))
    assert.ok(strict.validateSchema(schema), `${name}: ${strict.errorsText()}`);
});

test("describes the daemon's routes, all of them and no others", async () => {
  const { routes } = await wants(200, "GET", "/");
  const described = Object.entries(openapi.paths).flatMap(([path, item]) =>
    Object.keys(item).filter((key) => key !== "parameters")
      .map((method) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, "{}")}`));
  assert.deepEqual(described.sort(), routes.map(({ method, path }) =>
    `${method} ${path.replace("{*}", "{}")}`).sort());
});

async function list(header, name) {
  const text = await readFile(join(root, "include/poolcore", header), "utf8");
  const body = text.slice(text.indexOf(`#define ${name}(X)`)).split(/[^\\]\n/, 1)[0];
  return [...body.matchAll(/X\(([A-Z_]+),\s*\d+,\s*("[^"]*"|\d+)/g)]
    .map(([, word, second]) => ({ word, second: second.replaceAll('"', "") }));
}

test("knows the words of the headers", async () => {
  const { schemas, responses } = openapi.components;
  const errors = await list("error.h", "PC_ERROR_LIST");
  assert.ok(errors.length > 30);
  assert.deepEqual(schemas.ErrorCode.enum, errors.map(({ word }) => word));
  for (const [name, from] of [["WorkerStatus", ["types.h", "PC_WORKER_STATUS_LIST"]],
                              ["Capability", ["types.h", "PC_CAPABILITY_LIST"]],
                              ["ModelState", ["api.h", "PC_MODEL_STATE_LIST"]]])
    assert.deepEqual(schemas[name].enum, (await list(...from)).map(({ second }) => second));
  for (const [name, response] of Object.entries(responses)) {
    const [, status] = name.match(/^Error(\d+)$/) ?? [];
    if (!status)
      continue;
    const { code } = response.content["application/json"].schema.allOf[1].properties.error
      .properties;
    assert.deepEqual([...code.enum].sort(), errors.filter(({ second }) => second === status)
      .map(({ word }) => word).sort(), name);
  }
});

// The fuzzer begins with texts of each type, which the library's reader takes; the daemon does not
// say all of them. The first letter tells the type.
test("the library's own texts are as described", async () => {
  const schemas = { a: "StartRequest", b: "StopRequest", c: "ReadyReport", d: "Worker",
                    e: "MakingRoom", f: "Workers", g: "Models", h: "State", i: "Heartbeat",
                    j: "Error" };
  const folder = join(root, "tests/fuzz/corpus/api");
  const letters = new Set();
  for (const name of (await readdir(folder)).filter((file) => !/^(refused|newer)/.test(file))) {
    const text = await readFile(join(folder, name), "utf8");
    letters.add(text[0]);
    validate(validator("components", "schemas", schemas[text[0]]), JSON.parse(text.slice(1)), name);
  }
  assert.deepEqual([...letters].sort(), Object.keys(schemas));
});

// ---- answers ----

// Every GET that there is, with what stands for its parameters.
async function lookAtAll(workerId) {
  for (const [pattern, item] of Object.entries(openapi.paths)) {
    const path = pattern.replace("{worker_id}", workerId).replace("{model}", "org/m");
    if (item.get && !(path.includes("/workers/") && !workerId))
      await wants(200, "GET", path);
  }
}

test("an idle daemon answers as described", async () => {
  await lookAtAll("");
  assert.deepEqual(await wants(200, "GET", "/v2/workers"), { workers: [] });
});

test("a worker is started, shown, used and stopped", async () => {
  const started = await wants(202, "POST", "/v2/workers/start", start({ model: "tiny" }));
  assert.equal(started.model_id, "org/m");
  const id = started.worker_id;
  assert.equal((await wants(202, "POST", "/v2/workers/start",
    start({ model_ref: started.model_ref, backend: "stub", gpu_id: null }))).worker_id, id);
  await lookAtAll(id);
  await wants(200, "POST", "/v1/chat/completions", chat("org/m"));
  await wants(200, "POST", "/v1/chat/completions", chat("tiny", { stream: true }));
  await wantsError(400, "INVALID_REQUEST", "POST", "/v1/embeddings",
                   { body: { model: "tiny", input: "one" } });
  await lookAtAll(id);
  const worker = await wants(200, "GET", `/v2/workers/${id}`);
  assert.ok(worker.pid > 0 && worker.start_ticks > 0 && worker.boot_id);
  assert.ok(worker.updated_wall_ms >= worker.spawned_wall_ms);
  assert.equal(worker.last_exit, null);
  await wants(202, "POST", "/v2/workers/stop", { body: { worker_id: id, force: null } });
  await until("/v2/workers", ({ workers }) => workers.length === 0);
  const gone = await wants(200, "GET", `/v2/workers/${id}`);
  const { departed } = await wants(200, "GET", "/v2/departed?model=tiny");
  assert.equal(departed[0].worker_id, id);
  assert.deepEqual(await wants(200, "GET", "/v2/departed?model=none"), { departed: [] });
  assert.equal(gone.status, "stopped");
  assert.equal(gone.last_exit.known, true);
  await lookAtAll(id);
});

test("a worker reports that it is ready", async () => {
  const { worker_id } = await wants(202, "POST", "/v2/workers/start", start({ model: "patient" }));
  const { lines } = await until(`/v2/workers/${worker_id}/logs?lines=20`,
    (log) => log.lines.some((line) => line.startsWith("POOL_WORKER_SPAWN_TOKEN=")));
  const [, spawn_token] = lines.find((line) => line.includes("TOKEN=")).split("=");
  const ready = "/v2/internal/workers/ready";
  await wantsError(401, "UNAUTHORIZED", "POST", ready, { body: { worker_id, spawn_token: "x" } });
  assert.equal((await wants(200, "GET", `/v2/workers/${worker_id}`)).status, "spawning");
  const report = { worker_id, spawn_token, vram_bytes: 1 << 20, uri: null };
  await wants(204, "POST", ready, { body: report });
  await wants(204, "POST", ready, { body: report });
  await until(`/v2/workers/${worker_id}`, ({ status }) => status === "ready");
  await wantsError(404, "WORKER_NOT_FOUND", "POST", ready,
                   { body: { worker_id: "w-none", spawn_token } });
  await wants(202, "POST", "/v2/workers/stop", { body: { worker_id, force: true } });
  await until("/v2/workers", ({ workers }) => workers.length === 0);
});

test("a reload is told as described", async () => {
  const file = join(directory, "pool.toml");
  const text = await readFile(file, "utf8");
  const nothing = { changed: [], added: [], removed: [], needs_restart: [] };
  assert.deepEqual(await wants(200, "POST", "/v2/reload"), nothing);
  await writeFile(file, text.replace("[pool]", "[pool]\nqueue_capacity = 7"));
  assert.deepEqual((await wants(200, "POST", "/v2/reload")).changed, ["pool.queue_capacity"]);
  const { settings } = await wants(200, "GET", "/v2/config");
  assert.equal(settings.find(({ key }) => key === "queue_capacity").value, 7);
  await writeFile(file, "[pool]\nnonsense = 1\n");
  await wantsError(422, "INVALID_CONFIG", "POST", "/v2/reload");
  await writeFile(file, text);
  await wants(200, "POST", "/v2/reload");
});

test("errors are as described", async () => {
  const model = (name) => ({ body: { model: name } });
  await wantsError(404, "NOT_FOUND", "GET", "/nowhere");
  await wantsError(404, "WORKER_NOT_FOUND", "GET", "/v2/workers/w-none");
  await wantsError(404, "WORKER_NOT_FOUND", "GET", "/v2/workers/w-none/logs");
  await wantsError(404, "MODEL_NOT_FOUND", "GET", "/v1/models/nobody");
  await wantsError(404, "MODEL_NOT_FOUND", "POST", "/v2/workers/start", model("nobody"));
  await wantsError(404, "WORKER_NOT_FOUND", "POST", "/v2/workers/stop",
                   { body: { worker_id: "w-none" } });
  await wantsError(403, "FORBIDDEN", "GET", "/v2/state",
                   { headers: { origin: "http://evil.example" } });
  await wantsError(421, "WRONG_HOST", "GET", "/v2/state", { headers: { host: "evil.example" } });
  const large = { body: " ".repeat((64 << 10) + 1) };
  for (const path of ["/v2/workers/start", "/v2/workers/stop", "/v2/internal/workers/ready"]) {
    await wantsError(413, "PAYLOAD_TOO_LARGE", "POST", path, large);
    await wantsError(400, "INVALID_JSON", "POST", path, { body: "{" });
    const { param } = await wantsError(400, "INVALID_REQUEST", "POST", path,
                                       { body: { worker: 1 } });
    assert.equal(param, "worker");
  }
  await wantsError(503, "INSUFFICIENT_MEMORY", "POST", "/v2/workers/start", model("giant"));
  await wantsError(503, "NO_WORKERS", "POST", "/v2/workers/start", model("far"));
});

test("a method that is not taken is told which are", async () => {
  const answer = await send("DELETE", "/v2/state");
  assert.equal(answer.status, 405);
  assert.equal(answer.headers.allow, "GET");
  checkContent(follow("components", "responses", "Error405"), answer, "DELETE /v2/state");
});

test("the gateway's errors are as described, on each of its routes", async () => {
  for (const [path, item] of Object.entries(openapi.paths)) {
    if (!path.startsWith("/v1/") || !item.post)
      continue;
    await wantsError(404, "MODEL_NOT_FOUND", "POST", path, chat("nobody"));
    await wantsError(400, "INVALID_JSON", "POST", path, { body: "[1]" });
    await wantsError(400, "INVALID_REQUEST", "POST", path, { body: {} });
    await wantsError(503, "NO_WORKERS", "POST", path, chat("far"));
  }
  await wantsError(503, "MODEL_FILE_MISSING", "POST", "/v1/chat/completions", chat("missing"));
  await wantsError(502, "WORKER_FAILED", "POST", "/v1/chat/completions", chat("dying"));
  const failed = await send("POST", "/v1/chat/completions", chat("broken"));
  check("POST", "/v1/chat/completions", failed);
  assert.equal(failed.status, 503);
  const { models } = await wants(200, "GET", "/v2/models");
  assert.equal(models.find(({ id }) => id === "broken").failures_in_row, 1);
  assert.equal(models.find(({ id }) => id === "far").state, "unavailable");
});

// What the schema refuses the daemon refuses, and the other way round.
test("requests are judged as described", async () => {
  const bodies = {
    "/v2/workers/start": [
      { model: "giant" }, { model: "giant", model_ref: null }, { model: "giant", port: null },
      {}, { model: null }, { model: "" }, { model: 7 }, { model: ["giant"] }, { model_ref: "" },
      { model: "giant", model_ref: "x" }, { model: "giant", newer: true },
      { model: "giant", port: 0 }, { model: "giant", port: 65536 }, { model: "giant", port: "1" },
      { model: "giant", port: 1.5 }, { model: "giant", gpu_id: -1 },
      { model: "giant", gpu_id: 1024 }, { model: "giant", gpu_id: true },
      { model: "giant", backend: "" }, { model: "giant", backend: 1 }, [], null, "giant", 7,
    ],
    "/v2/workers/stop": [
      { worker_id: "w-none" }, { worker_id: "w-none", force: true },
      { worker_id: "w-none", force: null }, {}, { worker_id: "" }, { worker_id: null },
      { worker_id: 1 }, { worker_id: "w-none", force: 1 }, { worker_id: "w-none", force: "yes" },
      { worker_id: "w-none", newer: 1 }, [], null,
    ],
    "/v2/internal/workers/ready": [
      { worker_id: "w-none", spawn_token: "" },
      { worker_id: "w-none", spawn_token: "t", vram_bytes: 0, uri: "u", model_ref: null },
      {}, { worker_id: "w-none" }, { spawn_token: "t" }, { worker_id: "w-none", spawn_token: null },
      { worker_id: "w-none", spawn_token: "t", vram_bytes: -1 },
      { worker_id: "w-none", spawn_token: "t", vram_bytes: 0.5 },
      { worker_id: "w-none", spawn_token: "t", uri: 1 },
      { worker_id: "w-none", spawn_token: "t", newer: 1 }, [],
    ],
  };
  for (const [path, list] of Object.entries(bodies)) {
    const valid = validator("paths", path, "post", "requestBody", "content", "application/json",
                            "schema");
    for (const value of list) {
      const answer = await send("POST", path, { body: JSON.stringify(value) });
      check("POST", path, answer);
      assert.equal(answer.status !== 400, valid(value),
                   `${path} ${JSON.stringify(value)}: ${answer.text}`);
    }
  }
});

test("a token is wanted where the document says so", async () => {
  await writeFile(join(directory, "token"), "a-secret-of-24-letters..\n", { mode: 0o600 });
  guarded = await startDaemon("guarded", `token_file = "${join(directory, "token")}"`);
  for (const [pattern, item] of Object.entries(openapi.paths)) {
    const path = pattern.replace("{worker_id}", "w-none").replace("{model}", "org/m");
    for (const method of ["get", "post"].filter((key) => item[key])) {
      const open = item[method].security?.length === 0;
      const body = method === "post" ? "{}" : undefined;
      const without = await send(method.toUpperCase(), path, { to: guarded, body });
      check(method.toUpperCase(), path, without);
      assert.equal(without.status === 401, !open, `${method} ${path}: ${without.status}`);
      const headers = { authorization: "Bearer a-secret-of-24-letters.." };
      const answer = await send(method.toUpperCase(), path, { to: guarded, body, headers });
      check(method.toUpperCase(), path, answer);
      assert.notEqual(answer.status, 401, `${method} ${path}`);
    }
  }
});

test("nothing that is described was left out", () => {
  const described = Object.entries(openapi.paths).flatMap(([path, item]) =>
    ["get", "post"].filter((key) => item[key]).map((key) => `${key.toUpperCase()} ${path}`));
  assert.deepEqual([...seen].sort(), described.sort());
});
