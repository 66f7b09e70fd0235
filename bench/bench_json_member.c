/* SPDX-License-Identifier: MIT */
/*
 * bench_json_member.c - how fast the member scanner reads bodies of the shapes that a gateway sees,
 * beside jansson building a tree of the same body. The two alternate, and the best round of each
 * counts, so that a busy machine disturbs the ratio little.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <poolcore/clock.h>

#include "http/json_member.h"

#define BODY_BYTES (10 << 20)
#define READ_BYTES 65536 /* as the server's reads deliver it */
#define ROUNDS 7

struct body {
	char *data;
	size_t length;
};

static void fail(const char *why)
{
	fprintf(stderr, "bench_json_member: %s\n", why);
	exit(1);
}

static void put(struct body *body, const char *text)
{
	size_t length = strlen(text);

	memcpy(body->data + body->length, text, length);
	body->length += length;
}

/* An image in base64: one long string. */
static void make_image(struct body *body)
{
	put(body, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
		  "\"image_url\":{\"url\":\"data:image/png;base64,");
	for (unsigned i = 0; body->length < BODY_BYTES - 200; i++)
		body->data[body->length++] = "ABCDwxyz0189+/Mn"[i * 7 % 16];
	put(body, "\"}}]}],\"stream\":true,\"model\":\"m\"}");
}

/* A long conversation: paragraphs with an escape here and there. */
static void make_chat(struct body *body)
{
	put(body, "{\"temperature\": 0.7, \"messages\": [");
	for (unsigned i = 0; body->length < BODY_BYTES - 800; i++) {
		put(body, i ? ", " : "");
		put(body, i % 2 ? "{\"role\": \"assistant\", \"content\": \""
				: "{\"role\": \"user\", \"content\": \"");
		put(body, "It keeps the models that are asked for in memory, and throws out what "
			  "nobody has asked for lately; whoever comes first is served first.\\n");
		put(body, "A sentence with \\\"quotes\\\" in it, and then some more words, so that "
			  "the paragraph has the length that paragraphs have in conversations.\"}");
	}
	put(body, "], \"stream\": true, \"model\": \"m\"}");
}

/* The worst for it: an embedding request's token numbers. */
static void make_numbers(struct body *body)
{
	put(body, "{\"input\": [");
	for (unsigned i = 0; body->length < BODY_BYTES - 200; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%s%u", i ? ", " : "", i * 7919 % 32000);
		put(body, number);
	}
	put(body, "], \"stream\": true, \"model\": \"m\"}");
}

static double scan_seconds(const struct body *body)
{
	struct json_scanner scanner;
	uint64_t start = pc_clock_now_ns();

	json_scanner_init(&scanner);
	for (size_t at = 0; at < body->length; at += READ_BYTES)
		json_scanner_feed(&scanner, body->data + at,
				  body->length - at < READ_BYTES ? body->length - at : READ_BYTES);
	if (json_scanner_end(&scanner) != JSON_SCAN_DONE || strcmp(scanner.model, "m") != 0)
		fail("the scanner did not find the model");
	return (double)(pc_clock_now_ns() - start) / 1e9;
}

static double jansson_seconds(const struct body *body)
{
	uint64_t start = pc_clock_now_ns();
	json_t *root = json_loadb(body->data, body->length, 0, NULL);

	if (!root || !json_is_string(json_object_get(root, "model")))
		fail("jansson did not find the model");
	json_decref(root);
	return (double)(pc_clock_now_ns() - start) / 1e9;
}

static void run(const char *name, void (*make)(struct body *body))
{
	struct body body = { malloc(BODY_BYTES), 0 };
	double scanner = 1e9, tree = 1e9;

	if (!body.data)
		fail("out of memory");
	make(&body);
	for (int i = 0; i < ROUNDS; i++) {
		double seconds = scan_seconds(&body);

		scanner = seconds < scanner ? seconds : scanner;
		seconds = jansson_seconds(&body);
		tree = seconds < tree ? seconds : tree;
	}
	printf("%-8s scanner %6.2f GB/s  jansson %6.3f GB/s  ratio %6.1f\n", name,
	       (double)body.length / scanner / 1e9, (double)body.length / tree / 1e9,
	       tree / scanner);
	free(body.data);
}

int main(void)
{
	run("image", make_image);
	run("chat", make_chat);
	run("numbers", make_numbers);
	return 0;
}
