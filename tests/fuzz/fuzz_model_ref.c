/* SPDX-License-Identifier: MIT */
/*
 * fuzz_model_ref.c - a reference that is accepted has one spelling, the one that was read, and
 * leads nowhere but into its repository or to an absolute path.
 */
#include <poolcore/model_ref.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* No part is empty, "." or "..", and no byte is a control. */
static void check_path(const char *path)
{
	for (const char *p = path; *p; p++)
		check((unsigned char)*p >= 0x20 && *p != 0x7f);
	for (;; path++) {
		size_t length = strcspn(path, "/");

		check(length > 0 && length <= 255);
		check(strncmp(path, ".", length) != 0 && strncmp(path, "..", length) != 0);
		path += length;
		if (*path == '\0')
			return;
	}
}

static void check_reference(const struct pc_model_ref *ref, const char *text)
{
	static char again[3 * sizeof(ref->repo) + sizeof(ref->file)];

	if (ref->kind == PC_MODEL_REF_FILE) {
		check(ref->file[0] == '/' && ref->repo[0] == '\0' && ref->revision[0] == '\0');
		check_path(ref->file + 1);
		snprintf(again, sizeof(again), "file:%s", ref->file);
	} else {
		check(pc_model_id_check(ref->repo, NULL) == 0 && strchr(ref->repo, '/'));
		check_path(ref->file);
		check(!strpbrk(ref->file, "\\"));
		if (ref->revision[0])
			check_path(ref->revision);
		snprintf(again, sizeof(again), "hf:%s%s%s::file=%s", ref->repo,
			 ref->revision[0] ? "@" : "", ref->revision, ref->file);
	}
	check(strcmp(again, text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct pc_model_ref ref;
	struct pc_error err = PC_ERROR_INIT;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, bytes, size);
	text[size] = '\0';
	if (pc_model_ref_parse(text, &ref, &err) == 0)
		check_reference(&ref, text);
	else
		check(err.code == PC_E_INVALID_ARGUMENT && err.message[0] != '\0');
	free(text);
	return 0;
}
