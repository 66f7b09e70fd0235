/* SPDX-License-Identifier: MIT */
/*
 * cli_spawn.c - what a command line does to have a worker started: make the request, check it,
 * write it as JSON, send it to a daemon, and read its answer or its error.
 *
 *   cc cli_spawn.c $(pkg-config --cflags --libs poolcore libcurl) -o cli_spawn
 *   ./cli_spawn http://127.0.0.1:9200 MODEL [BACKEND [PORT]]
 *
 * A daemon that wants a token gets the one in RBEES_POOL_TOKEN.
 */
#include <poolcore/api.h>

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An answer is a worker's record or an error: a few KiB. */
#define ANSWER_MAX (256 << 10)

struct answer {
	long status;
	size_t length;
	char text[ANSWER_MAX];
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct answer *answer = ctx;

	/* Less than was offered makes libcurl end the call with an error. */
	if (size * count > sizeof(answer->text) - answer->length)
		return 0;
	memcpy(answer->text + answer->length, data, size * count);
	answer->length += size * count;
	return size * count;
}

static struct curl_slist *make_headers(void)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	const char *token = getenv("RBEES_POOL_TOKEN");
	struct curl_slist *more = headers;
	char line[512];

	if (headers && token &&
	    (size_t)snprintf(line, sizeof(line), "Authorization: Bearer %s", token) < sizeof(line))
		more = curl_slist_append(headers, line);
	if (!more)
		curl_slist_free_all(headers);
	return more;
}

/* Any answer is a success here; whether it is a good one is the caller's to see. */
static int post(const char *url, const char *text, struct answer *answer, struct pc_error *err)
{
	struct curl_slist *headers = make_headers();
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;

	if (curl && headers) {
		curl_easy_setopt(curl, CURLOPT_URL, url);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
		curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
		code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return code ? pc_error_set(err, PC_E_IO, "no daemon answers at %s: %s", url,
				   curl_easy_strerror(code))
		    : 0;
}

/* ---- the request ---- */

static int make_request(char **argv, int argc, char **ret_text, struct pc_error *err)
{
	struct pc_worker_spawn_request request = PC_WORKER_SPAWN_REQUEST_INIT;
	const char *port = argc > 4 ? argv[4] : "0";
	char *end;
	unsigned long number = strtoul(port, &end, 10);
	int rc;

	if (end == port || *end || number > UINT16_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "'%s' is no port; 8080 would be",
				    port);
	request.model = argv[2];
	request.backend = argc > 3 ? argv[3] : NULL;
	request.port = (uint16_t)number;
	/* What the daemon would refuse in any case need not be sent. */
	rc = pc_worker_spawn_request_validate(&request, err);
	return rc ? rc : pc_worker_spawn_request_write(&request, ret_text, err);
}

/* ---- the answer ---- */

static int show_response(const struct answer *answer, struct pc_error *err)
{
	struct pc_worker_spawn_response response = PC_WORKER_SPAWN_RESPONSE_INIT;
	int rc = pc_worker_spawn_response_parse(answer->text, answer->length, &response, err);

	if (rc)
		return rc;
	if (response.worker_id)
		printf("worker %s of %s is %s on %s\n", response.worker_id, response.model_id,
		       response.status, response.device);
	else
		printf("no worker yet: %s\n", response.status);
	pc_worker_spawn_response_free(&response);
	return 0;
}

/* The daemon's error becomes ours, with its code and its details. */
static int take_error(const struct answer *answer, struct pc_error *err)
{
	struct pc_api_error error = { .code = NULL };
	int rc = pc_api_error_parse(answer->text, answer->length, &error, err);

	if (rc) {
		pc_error_prefix(err, "the answer %ld is none of a daemon", answer->status);
		return rc;
	}
	rc = pc_api_error_take(&error, err);
	pc_api_error_free(&error);
	return rc;
}

int main(int argc, char **argv)
{
	static struct answer answer;
	struct pc_error err = PC_ERROR_INIT;
	char *text = NULL, url[1024];
	int rc;

	if (argc < 3)
		return fprintf(stderr, "usage: cli_spawn URL MODEL [BACKEND [PORT]]\n"), 2;
	snprintf(url, sizeof(url), "%s/v2/workers/start", argv[1]);
	rc = make_request(argv, argc, &text, &err);
	if (!rc) {
		puts(text);
		rc = post(url, text, &answer, &err);
	}
	if (!rc)
		rc = answer.status < 300 ? show_response(&answer, &err) : take_error(&answer, &err);
	pc_free(text);
	if (rc) {
		fprintf(stderr, "cli_spawn: %s: %s\n", pc_error_name(err.code), err.message);
		for (unsigned i = 0; i < err.detail_count; i++)
			fprintf(stderr, "  %s: %s\n", err.details[i].key, err.details[i].value);
	}
	return rc != 0;
}
