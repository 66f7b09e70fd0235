/* SPDX-License-Identifier: MIT */
/*
 * api.c - rbees-pool's way to the daemon: libcurl for HTTP over TCP or a Unix socket, the library
 * for errors, jansson for the answers that are printed. It knows nothing of what they mean.
 */
#include <poolcore/api.h>
#include <poolcore/config.h>
#include <poolcore/version.h>

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define DEFAULT_URL "http://127.0.0.1:9200"
/* One line of an event stream. */
#define EVENT_MAX (16u << 20)
#define CONNECT_TIMEOUT_SECS 5L
/* What operators ask is answered in milliseconds, but for a reload from a slow disk. A guess. */
#define SILENCE_SECS 30L
#define SILENCE_MAX_SECS 86400L
/* The daemon reads no more of its token file either. */
#define TOKEN_MAX 4096

/* ---- where the daemon is ---- */

static char *join(const char *a, const char *b, const char *c)
{
	size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
	char *text = pc_malloc(size);

	if (text)
		snprintf(text, size, "%s%s%s", a, b, c);
	return text;
}

static int set_token(struct cli *cli, const char *token, const char *source, struct pc_error *err)
{
	/* It becomes a line of the request's head. */
	for (const char *c = token; *c; c++) {
		if (*c < '!' || *c > '~')
			return pc_error_set(err, PC_E_INVALID_CONFIG,
					    "%s: a token is made of visible ASCII characters",
					    source);
	}
	cli->token = pc_strdup(token);
	return cli->token ? 0 : pc_error_oom(err);
}

static int read_token(struct cli *cli, const char *path, struct pc_error *err)
{
	char text[TOKEN_MAX];
	FILE *file = fopen(path, "re");

	if (!file)
		return pc_error_sys(err, PC_E_IO, errno, "cannot read the token file %s", path);

	size_t length = fread(text, 1, sizeof(text) - 1, file);

	fclose(file);
	text[length] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	return set_token(cli, text, path, err);
}

static int bad_address(const char *address, struct pc_error *err)
{
	return pc_error_set(err, PC_E_INVALID_CONFIG,
			    "'%s' is no address of a daemon; write http://127.0.0.1:9200 or "
			    "unix:/path",
			    address);
}

static int use_address(struct cli *cli, const char *address, struct pc_error *err)
{
	const char *host = strstr(address, "://");
	size_t length;

	if (strncmp(address, "unix:", 5) == 0 && address[5]) {
		cli->socket = pc_strdup(address + 5);
		cli->base = pc_strdup("http://localhost");
		return cli->socket && cli->base ? 0 : pc_error_oom(err);
	}
	if (host && strncmp(address, "http://", 7) != 0 && strncmp(address, "https://", 8) != 0)
		return bad_address(address, err);
	cli->base = join(host ? "" : "http://", address, "");
	if (!cli->base)
		return pc_error_oom(err);
	host = strstr(cli->base, "://") + 3;
	if (*host == '\0' || *host == '/' || strcmp(host, "unix:") == 0)
		return bad_address(address, err);
	for (length = strlen(cli->base); cli->base[length - 1] == '/'; length--)
		cli->base[length - 1] = '\0';
	return 0;
}

static int set_silence(struct cli *cli, const char *text, struct pc_error *err)
{
	long long secs = SILENCE_SECS;

	if (text && !whole_number(text, 0, SILENCE_MAX_SECS, &secs))
		return pc_error_set(err, PC_E_INVALID_CONFIG,
				    "--timeout takes a whole number of seconds from 0 to %ld, not "
				    "'%s'",
				    SILENCE_MAX_SECS, text);
	cli->silence_secs = (long)secs;
	return 0;
}

int api_open(struct cli *cli, struct pc_error *err)
{
	const char *address = cli->options[OPTION_URL];
	const char *config = cli->options[OPTION_CONFIG];
	const char *token = getenv("RBEES_POOL_TOKEN");
	int rc = config ? pc_config_load(config, NULL, 0, &cli->settings, err) : 0;

	if (!rc)
		rc = set_silence(cli, cli->options[OPTION_TIMEOUT], err);
	if (rc)
		return rc;
	if (!address)
		address = getenv("RBEES_POOL_URL");
	if (!address && cli->settings)
		address = cli->settings->http_listen.items[0];
	if (token && *token)
		rc = set_token(cli, token, "RBEES_POOL_TOKEN", err);
	else if (cli->settings && cli->settings->http_token_file[0])
		rc = read_token(cli, cli->settings->http_token_file, err);
	return rc ? rc : use_address(cli, address ? address : DEFAULT_URL, err);
}

void api_close(struct cli *cli)
{
	pc_free(cli->base);
	pc_free(cli->socket);
	pc_free(cli->token);
	pc_config_free(cli->settings);
}

char *api_path(const char *before, const char *name, const char *after)
{
	char *escaped = curl_easy_escape(NULL, name, 0);
	char *path = escaped ? join(before, escaped, after) : NULL;

	curl_free(escaped);
	return path;
}

/* ---- one transfer ---- */

struct transfer {
	CURL *curl;
	struct curl_slist *headers;
	char *url;
	char *text; /* what has come and is not consumed yet */
	size_t length;
	size_t capacity;
	size_t limit;
	struct pc_error err; /* what a callback found wrong */

	/* for streams */
	bool (*event)(void *ctx, const json_t *data);
	void *event_ctx;
	size_t searched; /* no line ends before this offset of the text */
	bool finished;	 /* [DONE], an error event, or enough */
};

static bool append(struct transfer *transfer, const char *data, size_t length)
{
	if (length > transfer->limit - transfer->length) {
		pc_error_set(&transfer->err, PC_E_RECV_FAILED,
			     "the daemon's answer is longer than %zu bytes", transfer->limit);
		return false;
	}
	if (transfer->length + length > transfer->capacity) {
		size_t capacity = 2 * (transfer->length + length);
		char *text = pc_realloc(transfer->text, capacity);

		if (!text) {
			pc_error_oom(&transfer->err);
			return false;
		}
		transfer->text = text;
		transfer->capacity = capacity;
	}
	memcpy(transfer->text + transfer->length, data, length);
	transfer->length += length;
	return true;
}

static size_t on_answer(char *data, size_t size, size_t count, void *ctx)
{
	(void)size; /* always 1 */
	return append(ctx, data, count) ? count : 0;
}

static bool add_header(struct transfer *transfer, const char *line)
{
	struct curl_slist *longer = curl_slist_append(transfer->headers, line);

	if (longer)
		transfer->headers = longer;
	return longer;
}

static bool add_headers(struct transfer *transfer, const struct cli *cli)
{
	pc_auto(pc_free) char *authorization = NULL;

	/* Without "Expect:" libcurl would ask before it sends a long prompt, and wait for a second.
	 */
	if (!add_header(transfer, "Content-Type: application/json") ||
	    !add_header(transfer, "Expect:"))
		return false;
	if (!cli->token)
		return true;
	authorization = join("Authorization: Bearer ", cli->token, "");
	return authorization && add_header(transfer, authorization);
}

static int transfer_init(struct transfer *transfer, const struct cli *cli, const char *path,
			 struct pc_error *err)
{
	*transfer = (struct transfer){ .limit = PC_API_ANSWER_MAX };
	transfer->curl = curl_easy_init();
	transfer->url = join(cli->base, path, "");
	if (!transfer->curl || !transfer->url || !add_headers(transfer, cli))
		return pc_error_oom(err);
	curl_easy_setopt(transfer->curl, CURLOPT_URL, transfer->url);
	curl_easy_setopt(transfer->curl, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(transfer->curl, CURLOPT_USERAGENT, "rbees-pool/" PC_VERSION);
	curl_easy_setopt(transfer->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_SECS);
	/* Not a limit of the whole: an answer that comes slowly may take its time. */
	curl_easy_setopt(transfer->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(transfer->curl, CURLOPT_LOW_SPEED_TIME, cli->silence_secs);
	curl_easy_setopt(transfer->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(transfer->curl, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(transfer->curl, CURLOPT_WRITEDATA, transfer);
	/* The daemon is here or where the user said: a proxy between us would only see what it must
	 * not. */
	curl_easy_setopt(transfer->curl, CURLOPT_NOPROXY, "*");
	if (cli->socket)
		curl_easy_setopt(transfer->curl, CURLOPT_UNIX_SOCKET_PATH, cli->socket);
	return 0;
}

static void transfer_fini(struct transfer *transfer)
{
	curl_easy_cleanup(transfer->curl);
	curl_slist_free_all(transfer->headers);
	pc_free(transfer->url);
	pc_free(transfer->text);
}

/* A daemon that is stopped or hangs is connected to all the same: the kernel does that for it. */
static bool was_connected(CURL *curl)
{
	curl_off_t connect_us = 0;

	curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connect_us);
	return connect_us > 0;
}

static int connection_error(const struct transfer *transfer, struct cli *cli, CURLcode code,
			    struct pc_error *err)
{
	const char *scheme = cli->socket ? "unix:" : "";
	const char *where = cli->socket ? cli->socket : cli->base;

	if (code == CURLE_OPERATION_TIMEDOUT && was_connected(transfer->curl))
		return pc_error_set(
			err, PC_E_TIMEOUT,
			"the daemon at %s%s has said nothing for %ld s; its process may "
			"be stopped or hang",
			scheme, where, cli->silence_secs);
	switch (code) {
	case CURLE_URL_MALFORMAT:
		return bad_address(where, err);
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_OPERATION_TIMEDOUT: /* of the connection */
		cli->unreachable = true;
		return pc_error_set(err, PC_E_SEND_FAILED,
				    "no daemon answers at %s%s; start pool-managerd or name "
				    "another address with --url",
				    scheme, where);
	default:
		return pc_error_set(err, PC_E_RECV_FAILED, "%s%s: %s", scheme, where,
				    curl_easy_strerror(code));
	}
}

/* Runs the transfer; 0 when an answer came, whatever it says. */
static int perform(struct transfer *transfer, struct cli *cli, const char *body, long *ret_status,
		   struct pc_error *err)
{
	CURLcode code;

	if (body) {
		curl_easy_setopt(transfer->curl, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)strlen(body));
		curl_easy_setopt(transfer->curl, CURLOPT_POSTFIELDS, body);
	}
	code = curl_easy_perform(transfer->curl);
	if (transfer->err.code) {
		if (err)
			*err = transfer->err;
		return transfer->err.code;
	}
	if (code != CURLE_OK && !(transfer->finished && code == CURLE_WRITE_ERROR))
		return connection_error(transfer, cli, code, err);
	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, ret_status);
	return 0;
}

/* ---- answers ---- */

/*
 * Turns an error body into an error of ours. The gateway passes on what a worker says, and one that
 * is not ours may have a number for its code, or none: of such an error the message is taken.
 */
static int take_error(const char *text, size_t length, const json_t *answer, long status,
		      struct pc_error *err)
{
	const json_t *foreign = json_object_get(json_object_get(answer, "error"), "message");
	const char *message = json_string_value(foreign);
	struct pc_api_error error;

	if (!pc_api_error_parse(text, length, &error, NULL)) {
		int code = pc_api_error_take(&error, err);

		pc_api_error_free(&error);
		return code;
	}
	pc_error_set(err, PC_E_INTERNAL, "%s", message ? message : "an error without a message");
	if (!message)
		pc_error_detail(err, "http_status", "%ld", status);
	return PC_E_INTERNAL;
}

static int parse_answer(const struct transfer *transfer, long status, json_t **ret_answer,
			struct pc_error *err)
{
	const char *text = transfer->text ? transfer->text : "";
	json_t *answer = json_loadb(text, transfer->length, JSON_ALLOW_NUL, NULL);
	int rc;

	if (!answer)
		return pc_error_set(err, PC_E_RECV_FAILED,
				    "the answer (HTTP %ld) is not JSON; is this a pool-managerd?",
				    status);
	if (status < 400) {
		*ret_answer = answer;
		return 0;
	}
	rc = take_error(text, transfer->length, answer, status, err);
	json_decref(answer);
	return rc;
}

static int exchange(struct cli *cli, const char *path, const char *body, json_t **ret_answer,
		    struct pc_error *err)
{
	struct transfer transfer;
	long status = 0;
	int rc = transfer_init(&transfer, cli, path, err);

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

int api_post(struct cli *cli, const char *path, const char *body, json_t **ret_answer,
	     struct pc_error *err)
{
	return exchange(cli, path, body, ret_answer, err);
}

/* ---- event streams ---- */

static void take_event(struct transfer *transfer, const char *text, size_t length)
{
	/* A model may well say U+0000. */
	json_t *data = json_loadb(text, length, JSON_ALLOW_NUL, NULL);

	if (!data)
		pc_error_set(&transfer->err, PC_E_RECV_FAILED,
			     "an event of the stream is not JSON");
	else if (json_object_get(data, "error"))
		take_error(text, length, data, 200, &transfer->err);
	else if (!transfer->event(transfer->event_ctx, data))
		transfer->finished = true;
	if (transfer->err.code)
		transfer->finished = true;
	json_decref(data);
}

/* One line of the stream. Only `data:` lines matter; the daemon and its workers send one per event.
 */
static void take_line(struct transfer *transfer, const char *line, size_t length)
{
	if (length > 0 && line[length - 1] == '\r')
		length--;
	if (length < 5 || memcmp(line, "data:", 5) != 0)
		return;
	line += 5;
	length -= 5;
	if (length > 0 && *line == ' ') {
		line++;
		length--;
	}
	if (length == 6 && memcmp(line, "[DONE]", 6) == 0)
		transfer->finished = true;
	else
		take_event(transfer, line, length);
}

/* The lines that are complete; what is left of the last one moves to the front and waits. */
static void take_lines(struct transfer *transfer)
{
	size_t used = 0;
	char *end;

	while (!transfer->finished && (end = memchr(transfer->text + transfer->searched, '\n',
						    transfer->length - transfer->searched))) {
		take_line(transfer, transfer->text + used, (size_t)(end - transfer->text) - used);
		used = (size_t)(end - transfer->text) + 1;
		transfer->searched = used;
	}
	transfer->length -= used;
	memmove(transfer->text, transfer->text + used, transfer->length);
	transfer->searched = transfer->length;
}

static size_t on_stream(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *transfer = ctx;
	long status = 0;

	(void)size;
	if (!append(transfer, data, count))
		return 0;
	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 400)
		return count; /* an error body, parsed when it is whole */
	take_lines(transfer);
	return transfer->finished ? 0 : count;
}

int api_stream(struct cli *cli, const char *path, const json_t *body,
	       bool (*event)(void *ctx, const json_t *data), void *ctx, struct pc_error *err)
{
	struct transfer transfer;
	char *text = json_dumps(body, JSON_COMPACT);
	json_t *answer = NULL;
	long status = 0;
	int rc = transfer_init(&transfer, cli, path, err);

	if (!rc && !text)
		rc = pc_error_oom(err);
	if (!rc) {
		/* A model may take minutes to load, and as long again to read its prompt. */
		if (!cli->options[OPTION_TIMEOUT])
			curl_easy_setopt(transfer.curl, CURLOPT_LOW_SPEED_TIME, 0L);
		curl_easy_setopt(transfer.curl, CURLOPT_WRITEFUNCTION, on_stream);
		transfer.limit = EVENT_MAX;
		transfer.event = event;
		transfer.event_ctx = ctx;
		rc = perform(&transfer, cli, text, &status, err);
	}
	free(text);
	if (!rc && status >= 400)
		rc = parse_answer(&transfer, status, &answer, err);
	else if (!rc && !transfer.finished)
		rc = pc_error_set(err, PC_E_RECV_FAILED, "the stream ended before its last event");
	json_decref(answer);
	transfer_fini(&transfer);
	return rc;
}
