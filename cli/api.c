/* SPDX-License-Identifier: MIT */
/*
 * api.c - rbees-pool's way to the daemon: libcurl for HTTP over TCP or a Unix socket, jansson for
 * what is said. It knows the form of answers and errors, and nothing of what they mean.
 */
#include <poolcore/config.h>

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define DEFAULT_URL "http://127.0.0.1:9200"
/* An answer of the control plane; a longer one is not ours. */
#define ANSWER_MAX (64u << 20)
/* One line of an event stream. */
#define EVENT_MAX (16u << 20)
#define CONNECT_TIMEOUT_SECS 5L

/* ---- interruption ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* libcurl asks several times a second; 1 breaks the transfer off. */
static int on_progress(void *ctx, curl_off_t total_down, curl_off_t down, curl_off_t total_up,
		       curl_off_t up)
{
	(void)ctx;
	(void)total_down;
	(void)down;
	(void)total_up;
	(void)up;
	return interrupted != 0;
}

/* ---- where the daemon is ---- */

static int read_token(struct cli *cli, const char *path, struct pc_error *err)
{
	char text[4096];
	FILE *file = fopen(path, "re");

	if (!file)
		return pc_error_sys(err, PC_E_IO, errno, "cannot read the token file %s", path);

	size_t length = fread(text, 1, sizeof(text) - 1, file);

	fclose(file);
	text[length] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	cli->token = pc_strdup(text);
	return cli->token ? 0 : pc_error_oom(err);
}

static int use_address(struct cli *cli, const char *address, struct pc_error *err)
{
	char base[512];

	if (strncmp(address, "unix:", 5) == 0) {
		cli->socket = pc_strdup(address + 5);
		if (!cli->socket)
			return pc_error_oom(err);
		address = "http://localhost";
	}
	snprintf(base, sizeof(base), "%s%s", strstr(address, "://") ? "" : "http://", address);
	while (strlen(base) > 0 && base[strlen(base) - 1] == '/')
		base[strlen(base) - 1] = '\0';
	cli->base = pc_strdup(base);
	return cli->base ? 0 : pc_error_oom(err);
}

int api_open(struct cli *cli, struct pc_error *err)
{
	const char *address = cli->url ? cli->url : getenv("RBEES_POOL_URL");
	const char *token = getenv("RBEES_POOL_TOKEN");
	const struct sigaction action = { .sa_handler = on_interrupt };
	int rc = 0;

	sigaction(SIGINT, &action, NULL);
	if (cli->config)
		rc = pc_config_load(cli->config, NULL, 0, &cli->settings, err);
	if (rc)
		return rc;
	if (!address && cli->settings)
		address = cli->settings->http_listen.items[0];
	if (token) {
		cli->token = pc_strdup(token);
		if (!cli->token)
			return pc_error_oom(err);
	} else if (cli->settings && cli->settings->http_token_file[0]) {
		rc = read_token(cli, cli->settings->http_token_file, err);
	}
	return rc ? rc : use_address(cli, address ? address : DEFAULT_URL, err);
}

void api_close(struct cli *cli)
{
	pc_free(cli->base);
	pc_free(cli->socket);
	pc_free(cli->token);
	pc_config_free(cli->settings);
}

/* ---- one transfer ---- */

struct transfer {
	CURL *curl;
	struct curl_slist *headers;
	char *text; /* what has come and is not consumed yet */
	size_t length;
	size_t limit;
	bool failed; /* out of memory, or over the limit */

	/* for streams */
	bool (*event)(void *ctx, const json_t *data);
	void *event_ctx;
	struct pc_error *err;
	bool finished; /* [DONE], an error event, or enough */
};

static bool append(struct transfer *transfer, const char *data, size_t length)
{
	char *text;

	if (length > transfer->limit - transfer->length)
		return false;
	text = pc_realloc(transfer->text, transfer->length + length + 1);
	if (!text)
		return false;
	memcpy(text + transfer->length, data, length);
	transfer->text = text;
	transfer->length += length;
	text[transfer->length] = '\0';
	return true;
}

static size_t on_answer(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *transfer = ctx;

	(void)size; /* always 1 */
	if (append(transfer, data, count))
		return count;
	transfer->failed = true;
	return 0;
}

static int prepare(struct transfer *transfer, const struct cli *cli, const char *path,
		   struct pc_error *err)
{
	char url[1024], authorization[4200];

	transfer->curl = curl_easy_init();
	if (!transfer->curl)
		return pc_error_oom(err);
	snprintf(url, sizeof(url), "%s%s", cli->base, path);
	transfer->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (cli->token) {
		snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s",
			 cli->token);
		transfer->headers = curl_slist_append(transfer->headers, authorization);
	}
	curl_easy_setopt(transfer->curl, CURLOPT_URL, url);
	curl_easy_setopt(transfer->curl, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(transfer->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_SECS);
	curl_easy_setopt(transfer->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(transfer->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(transfer->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(transfer->curl, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(transfer->curl, CURLOPT_WRITEDATA, transfer);
	/* The daemon is here or where the user said: a proxy between us would only see what it must
	 * not. */
	curl_easy_setopt(transfer->curl, CURLOPT_NOPROXY, "*");
	if (cli->socket)
		curl_easy_setopt(transfer->curl, CURLOPT_UNIX_SOCKET_PATH, cli->socket);
	transfer->limit = ANSWER_MAX;
	return 0;
}

static void transfer_fini(struct transfer *transfer)
{
	curl_easy_cleanup(transfer->curl);
	curl_slist_free_all(transfer->headers);
	pc_free(transfer->text);
}

static int unreachable(const struct cli *cli, CURLcode code, struct pc_error *err)
{
	const char *where = cli->socket ? cli->socket : cli->base;

	if (interrupted)
		return pc_error_set(err, PC_E_CANCELLED, "interrupted");
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
		return pc_error_set(err, PC_E_SEND_FAILED,
				    "no daemon answers at %s; start pool-managerd or name another "
				    "address with --url",
				    where);
	return pc_error_set(err, PC_E_RECV_FAILED, "%s: %s", where, curl_easy_strerror(code));
}

/* Turns an error body into an error of ours. */
static int take_error(const json_t *answer, long status, struct pc_error *err)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *key;
	json_t *value;

	pc_error_set(err, code ? pc_error_from_name(code) : PC_E_INTERNAL, "%s",
		     message ? message : "the answer is an error without a message");
	if (!message)
		pc_error_detail(err, "http_status", "%ld", status);
	json_object_foreach(json_object_get(error, "details"), key, value)
	{
		if (json_is_string(value))
			pc_error_detail(err, key, "%s", json_string_value(value));
	}
	return code ? pc_error_from_name(code) : PC_E_INTERNAL;
}

static int perform(struct transfer *transfer, const struct cli *cli, json_t *body, long *ret_status,
		   struct pc_error *err)
{
	char *text = NULL;
	CURLcode code;

	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		if (!text)
			return pc_error_oom(err);
		curl_easy_setopt(transfer->curl, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)strlen(text));
		curl_easy_setopt(transfer->curl, CURLOPT_POSTFIELDS, text);
	}
	code = curl_easy_perform(transfer->curl);
	free(text);
	if (transfer->failed)
		return pc_error_set(
			err, PC_E_RECV_FAILED,
			"the daemon's answer is longer than %zu bytes, or memory ran out",
			transfer->limit);
	if (code != CURLE_OK && !(transfer->finished && code == CURLE_WRITE_ERROR))
		return unreachable(cli, code, err);
	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, ret_status);
	return 0;
}

static int parse_answer(const struct transfer *transfer, long status, json_t **ret_answer,
			struct pc_error *err)
{
	json_error_t where;
	json_t *answer = json_loadb(transfer->text ? transfer->text : "", transfer->length, 0,
				    &where);
	int rc = 0;

	if (!answer)
		return pc_error_set(err, PC_E_RECV_FAILED,
				    "the answer (HTTP %ld) is not JSON; is this a pool-managerd?",
				    status);
	if (status >= 400) {
		rc = take_error(answer, status, err);
		json_decref(answer);
		return rc;
	}
	*ret_answer = answer;
	return 0;
}

static int exchange(struct cli *cli, const char *path, json_t *body, json_t **ret_answer,
		    struct pc_error *err)
{
	struct transfer transfer = { .curl = NULL };
	long status = 0;
	int rc = prepare(&transfer, cli, path, err);

	if (!rc)
		rc = perform(&transfer, cli, body, &status, err);
	if (!rc)
		rc = parse_answer(&transfer, status, ret_answer, err);
	transfer_fini(&transfer);
	return rc;
}

int api_get(struct cli *cli, const char *path, json_t **ret_answer, struct pc_error *err)
{
	return exchange(cli, path, NULL, ret_answer, err);
}

int api_post(struct cli *cli, const char *path, json_t *body, json_t **ret_answer,
	     struct pc_error *err)
{
	return exchange(cli, path, body, ret_answer, err);
}

/* ---- event streams ---- */

/* One line of the stream. Only `data:` lines matter; the daemon and its workers send one per event.
 */
static void take_line(struct transfer *transfer, const char *line, size_t length)
{
	json_t *data;

	if (length < 5 || memcmp(line, "data:", 5) != 0)
		return;
	line += 5;
	length -= 5;
	while (length > 0 && *line == ' ') {
		line++;
		length--;
	}
	if (length == 6 && memcmp(line, "[DONE]", 6) == 0) {
		transfer->finished = true;
		return;
	}
	data = json_loadb(line, length, 0, NULL);
	if (!data) {
		pc_error_set(transfer->err, PC_E_RECV_FAILED, "an event of the stream is not JSON");
		transfer->finished = true;
	} else if (json_object_get(data, "error")) {
		take_error(data, 200, transfer->err);
		transfer->finished = true;
	} else if (!transfer->event(transfer->event_ctx, data)) {
		transfer->finished = true;
	}
	json_decref(data);
}

static size_t on_stream(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *transfer = ctx;
	size_t used = 0;
	long status = 0;

	(void)size;
	if (!append(transfer, data, count)) {
		transfer->failed = true;
		return 0;
	}
	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 400)
		return count; /* an error body, parsed when it is whole */
	while (!transfer->finished) {
		const char *start = transfer->text + used;
		const char *end = memchr(start, '\n', transfer->length - used);

		if (!end)
			break;
		size_t length = (size_t)(end - start);

		take_line(transfer, start, length && end[-1] == '\r' ? length - 1 : length);
		used += length + 1;
	}
	memmove(transfer->text, transfer->text + used, transfer->length - used);
	transfer->length -= used;
	return transfer->finished ? 0 : count;
}

int api_stream(struct cli *cli, const char *path, json_t *body,
	       bool (*event)(void *ctx, const json_t *data), void *ctx, struct pc_error *err)
{
	struct pc_error stream_error = PC_ERROR_INIT;
	struct transfer transfer = { .event = event, .event_ctx = ctx, .err = &stream_error };
	json_t *answer = NULL;
	long status = 0;
	int rc = prepare(&transfer, cli, path, err);

	if (!rc) {
		curl_easy_setopt(transfer.curl, CURLOPT_WRITEFUNCTION, on_stream);
		transfer.limit = EVENT_MAX;
		rc = perform(&transfer, cli, body, &status, err);
	}
	if (!rc && status >= 400)
		rc = parse_answer(&transfer, status, &answer, err);
	else if (!rc && stream_error.code)
		rc = stream_error.code;
	else if (!rc && !transfer.finished)
		rc = pc_error_set(err, PC_E_RECV_FAILED, "the stream ended before its last event");
	if (stream_error.code && err && !err->code)
		*err = stream_error;
	json_decref(answer);
	transfer_fini(&transfer);
	return rc;
}
