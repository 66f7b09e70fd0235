/* SPDX-License-Identifier: MIT */
/*
 * register.c - rbees-pool models register: an entry of the catalog from a model's file, proposed by
 * what the file says and corrected by options. It asks no daemon and reads no more than the header.
 */
#include <poolcore/catalog.h>
#include <poolcore/catalog_edit.h>
#include <poolcore/config.h>
#include <poolcore/gguf.h>
#include <poolcore/model_ref.h>
#include <poolcore/text.h>
#include <poolcore/types.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define MIB ((uint64_t)1 << 20)
/* The catalog's limit of est_memory_allocation_mb. */
#define MEMORY_MB_MAX (16 << 20)

/* The entry as it will be written. */
struct proposal {
	char path[PATH_MAX];
	char id[PC_MODEL_ID_MAX + 1];
	const char *name;
	const char *capability;
	const char *why; /* it is that capability; NULL: the option says so */
	char size[24];
	char memory_mb[16];
	char slots[16];
	char context[16];
	struct pc_gguf_info info; /* architecture "": it is no GGUF file */
	struct pc_gguf_memory memory;
};

/* ---- the file ---- */

/* The folder without links and "..", the file's own name as it is: a link may be meant to be
 * one. */
static int take_path(const char *given, struct proposal *proposal, struct pc_error *err)
{
	const char *slash = strrchr(given, '/'), *name = slash ? slash + 1 : given;
	pc_auto(pc_free) char *folder = slash ? pc_strndup(given, (size_t)(name - given))
					      : pc_strdup(".");
	char *real;
	int length;

	if (!folder)
		return pc_error_oom(err);
	real = realpath(folder, NULL);
	if (!real)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "the file %s", given);
	length = snprintf(proposal->path, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
			  name);
	free(real);
	if (length >= PATH_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the file's path has more than %d bytes", PATH_MAX - 1);
	return 0;
}

static int read_header(int fd, struct proposal *proposal, struct pc_error *err)
{
	int rc = pc_gguf_read_model(fd, proposal->path, &proposal->info, err);

	if (rc)
		pc_error_prefix(err, "%s", proposal->path);
	return rc;
}

/* Its size, and what it says of itself when it is a GGUF file. */
static int look_at_file(struct proposal *proposal, struct pc_error *err)
{
	size_t length = strlen(proposal->path);
	int fd = open(proposal->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), rc = 0;
	struct stat facts = { .st_size = 0 };

	if (fd < 0)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "the file %s",
				    proposal->path);
	if (fstat(fd, &facts) || !S_ISREG(facts.st_mode) || facts.st_size == 0)
		rc = pc_error_set(err, PC_E_MODEL_FILE_INVALID,
				  "%s is no file with something in it; name a model's file",
				  proposal->path);
	else if (length > 5 && strcmp(proposal->path + length - 5, ".gguf") == 0)
		rc = read_header(fd, proposal, err);
	close(fd);
	snprintf(proposal->size, sizeof(proposal->size), "%" PRIu64, (uint64_t)facts.st_size);
	return rc;
}

/* ---- what is proposed ---- */

/* "TinyLlama-1.1B" of "/models/TinyLlama 1.1B.gguf": what an id takes stays, the rest becomes '-'.
 * What says of the first part of a split model that it is that is no part of its id. */
static void propose_id(struct proposal *proposal)
{
	const char *name = strrchr(proposal->path, '/') + 1;
	const char *dot = strrchr(name, '.');
	size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name), at = 0;
	size_t tail = proposal->info.split_count > 1 ? strlen("-00001-of-00002") : 0;

	if (length > tail)
		length -= tail;
	for (size_t i = 0; i < length && at < PC_MODEL_ID_MAX; i++) {
		char byte[2] = { name[i], '\0' };
		bool alone = pc_model_id_check(byte, NULL) == 0;

		if (alone || (at > 0 && strchr("._-", name[i])))
			proposal->id[at++] = name[i];
		else if (at > 0 && proposal->id[at - 1] != '-')
			proposal->id[at++] = '-';
	}
	while (at > 0 && proposal->id[at - 1] == '-')
		at--;
	proposal->id[at] = '\0';
}

/* Architectures of llama.cpp that have no way to write, and what others are for. */
static const struct {
	const char *architecture, *capability;
} known[] = {
	{ "bert", "text_embedding" },
	{ "nomic-bert", "text_embedding" },
	{ "nomic-bert-moe", "text_embedding" },
	{ "jina-bert-v2", "text_embedding" },
	{ "modern-bert", "text_embedding" },
	{ "neo-bert", "text_embedding" },
	{ "gemma-embedding", "text_embedding" },
};

/* What converters make beside models: each belongs to one, and cannot be loaded without it. */
static const struct {
	const char *type, *architecture, *what; /* either of the first two tells */
} parts_of_models[] = {
	{ "mmproj", "clip", "the projector of a vision model" },
	{ "adapter", NULL, "an adapter (LoRA) to a model" },
	{ "imatrix", "imatrix", "a matrix for quantising a model" },
};

static int check_is_model(const struct proposal *proposal, struct pc_error *err)
{
	const struct pc_gguf_info *info = &proposal->info;

	for (size_t i = 0; i < PC_ARRAY_LEN(parts_of_models); i++) {
		const char *architecture = parts_of_models[i].architecture;

		if (strcmp(info->type, parts_of_models[i].type) != 0 &&
		    (!architecture || strcmp(info->architecture, architecture) != 0))
			continue;
		return pc_error_set(err, PC_E_MODEL_FILE_INVALID,
				    "%s is %s and no model by itself; register the model that it "
				    "belongs to",
				    proposal->path, parts_of_models[i].what);
	}
	if (info->architecture[0] && info->tensor_count == 0)
		return pc_error_set(err, PC_E_MODEL_FILE_INVALID,
				    "%s has no tensors, as a vocabulary alone has none; register a "
				    "model",
				    proposal->path);
	return 0;
}

static enum exit_code choose_capability(const struct cli *cli, struct proposal *proposal)
{
	const char *given = cli->options[OPTION_CAPABILITY];

	proposal->capability = given;
	if (given)
		return pc_capability_from_name(given) >= 0
			       ? EXIT_OK
			       : usage_error("--capability takes text_embedding, image_embedding, "
					     "text_to_text, vision or text_to_image, not '%s'",
					     given);
	if (!proposal->info.architecture[0])
		return usage_error(
			"%s is no GGUF file, which could say what the model does: say it "
			"with --capability",
			proposal->path);
	proposal->capability = "text_to_text";
	proposal->why = proposal->info.architecture;
	for (size_t i = 0; i < PC_ARRAY_LEN(known); i++) {
		if (strcmp(known[i].architecture, proposal->info.architecture) == 0)
			proposal->capability = known[i].capability;
	}
	return EXIT_OK;
}

static enum exit_code choose_memory(const struct cli *cli, const struct pc_gguf_use *use,
				    struct proposal *proposal)
{
	struct pc_error err = PC_ERROR_INIT;
	uint32_t given = 0;
	uint64_t megabytes;
	enum exit_code status = number_option(cli, OPTION_MEMORY_MB, "--memory-mb", MEMORY_MB_MAX,
					      &given);

	if (status)
		return status;
	if (!given && !proposal->info.architecture[0])
		return usage_error("%s is no GGUF file, from which the memory of a worker could be "
				   "estimated: say it with --memory-mb",
				   proposal->path);
	if (!given && pc_gguf_estimate(&proposal->info, use, &proposal->memory, &err))
		return report(cli, &err);
	megabytes = given ? given : (proposal->memory.total_bytes + MIB - 1) / MIB;
	snprintf(proposal->memory_mb, sizeof(proposal->memory_mb), "%" PRIu64, megabytes);
	return EXIT_OK;
}

/* What the backend would cut the model's context to stands in the entry, too: the estimate is made
 * for that length, and another backend would take another one. */
static enum exit_code choose_context(const struct cli *cli, struct pc_gguf_use *use,
				     struct proposal *proposal)
{
	const char *backend = cli->options[OPTION_BACKEND];
	uint32_t own = proposal->info.context_tokens, usual;
	enum exit_code status = number_option(cli, OPTION_CONTEXT, "--context", CONTEXT_MAX,
					      &use->context_tokens);

	if (status)
		return status;
	usual = usual_context(backend ? backend : BACKEND_DEFAULT, &proposal->info);
	if (use->context_tokens == 0 && usual < own)
		use->context_tokens = usual;
	if (use->context_tokens)
		snprintf(proposal->context, sizeof(proposal->context), "%u", use->context_tokens);
	return EXIT_OK;
}

/* The options' word, else the file's. */
static enum exit_code choose(const struct cli *cli, struct proposal *proposal)
{
	const char *id = cli->options[OPTION_ID], *name = cli->options[OPTION_NAME];
	struct pc_gguf_use use = { .slots = 0 };
	enum exit_code status = number_option(cli, OPTION_SLOTS, "--slots", SLOTS_MAX, &use.slots);

	if (!status)
		status = choose_context(cli, &use, proposal);
	if (!status)
		status = choose_capability(cli, proposal);
	if (!status)
		status = choose_memory(cli, &use, proposal);
	if (status)
		return status;
	if (use.slots)
		snprintf(proposal->slots, sizeof(proposal->slots), "%u", use.slots);
	if (id)
		snprintf(proposal->id, sizeof(proposal->id), "%s", id);
	else
		propose_id(proposal);
	proposal->name = name ? name : proposal->info.name;
	return EXIT_OK;
}

/* ---- the catalog ---- */

static int taken(const struct pc_model_entry *other, const char *what, const char *cure,
		 struct pc_error *err)
{
	pc_error_set(err, PC_E_ALREADY_EXISTS, "%s model \"%s\" at %s:%u; %s", what, other->id,
		     other->source_file, other->source_line, cure);
	pc_error_detail(err, "model", "%s", other->id);
	pc_error_detail(err, "file", "%s", other->source_file);
	pc_error_detail(err, "line", "%u", other->source_line);
	return PC_E_ALREADY_EXISTS;
}

static int check_new(const struct cli *cli, const struct pc_catalog *catalog,
		     const struct proposal *proposal, struct pc_error *err)
{
	const char *id = cli->options[OPTION_ID] ? cli->options[OPTION_ID] : proposal->id;
	char what[PC_MODEL_ID_MAX + 64];
	int rc;

	if (!id[0])
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "no id can be made of the name of %s, which has no letter of A "
				    "to Z and no digit; give one with --id",
				    proposal->path);
	rc = pc_model_id_check(id, err);
	if (rc)
		return rc;
	if (pc_catalog_find(catalog, id)) {
		snprintf(what, sizeof(what), "\"%s\" is the name of", id);
		return taken(pc_catalog_find(catalog, id), what, "give another one with --id", err);
	}
	/* Two models of one file are for somebody who says that he means it. */
	for (size_t i = 0; !cli->options[OPTION_ID] && i < pc_catalog_count(catalog); i++) {
		const struct pc_model_entry *entry = pc_catalog_at(catalog, i);

		if (strcmp(entry->path, proposal->path) == 0)
			return taken(entry, "the file is that of",
				     "to have a second one of it, name it with --id", err);
	}
	return 0;
}

/* The file of the catalog that is meant, by the name that the configuration has for it. */
static int choose_catalog(const struct cli *cli, const char **ret_path, struct pc_error *err)
{
	const struct pc_string_list *files = &cli->settings->catalog_files;
	const char *given = cli->options[OPTION_CATALOG];
	struct stat wanted, facts;

	if (files->count == 0)
		return pc_error_set(err, PC_E_INVALID_CONFIG,
				    "the configuration names no file of the catalog; add one to "
				    "catalog.files");
	*ret_path = files->items[0];
	if (!given)
		return 0;
	if (stat(given, &wanted))
		return pc_error_sys(err, PC_E_IO, errno, "the catalog's file %s", given);
	for (size_t i = 0; i < files->count; i++) {
		*ret_path = files->items[i];
		if (stat(*ret_path, &facts) == 0 && facts.st_dev == wanted.st_dev &&
		    facts.st_ino == wanted.st_ino)
			return 0;
	}
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    "%s is no file of the catalog; add it to catalog.files first", given);
}

static int write_entry(const struct cli *cli, const struct proposal *proposal, const char *path,
		       struct pc_error *err)
{
	const struct pc_model_setting all[] = {
		{ "id", proposal->id },
		{ "name", proposal->name },
		{ "file", proposal->path },
		{ "size", proposal->size },
		{ "capability", proposal->capability },
		{ "est_memory_allocation_mb", proposal->memory_mb },
		{ "backend", cli->options[OPTION_BACKEND] },
		{ "device", cli->options[OPTION_DEVICE] },
		{ "slots", proposal->slots },
		{ "context_tokens", proposal->context },
	};
	struct pc_model_setting said[PC_ARRAY_LEN(all)];
	struct pc_catalog_edit *edit = NULL;
	size_t count = 0;
	int rc;

	for (size_t i = 0; i < PC_ARRAY_LEN(all); i++) {
		if (all[i].value && all[i].value[0])
			said[count++] = all[i];
	}
	rc = pc_catalog_edit_open(cli->settings, path, &edit, err);
	if (rc == 0)
		rc = pc_catalog_edit_add(edit, said, count, err);
	if (rc == 0 && !cli->options[OPTION_DRY_RUN])
		rc = pc_catalog_edit_save(edit, err);
	pc_catalog_edit_close(edit);
	return rc;
}

static int register_once(const struct cli *cli, const struct proposal *proposal, const char *path,
			 struct pc_error *err)
{
	struct pc_catalog *catalog = NULL;
	int rc = pc_catalog_load(cli->settings, &catalog, err);

	if (rc == 0)
		rc = check_new(cli, catalog, proposal, err);
	if (rc == 0)
		rc = write_entry(cli, proposal, path, err);
	pc_catalog_free(catalog);
	return rc;
}

static int register_proposal(const struct cli *cli, const struct proposal *proposal,
			     const char *path, struct pc_error *err)
{
	unsigned tries = 0;
	int rc;

	do
		rc = register_once(cli, proposal, path, err);
	while (save_again(rc, &tries, err));
	return rc;
}

/* ---- saying it ---- */

static enum exit_code tell_json(const struct cli *cli, const struct proposal *proposal,
				const char *path)
{
	const char *backend = cli->options[OPTION_BACKEND];
	json_t *answer = json_pack(
		"{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:s?, s:s, s:b}", "id", proposal->id,
		"name", proposal->name, "path", proposal->path, "capability", proposal->capability,
		"context_tokens", (json_int_t)strtoull(proposal->context, NULL, 10), "memory_bytes",
		(json_int_t)(strtoull(proposal->memory_mb, NULL, 10) * MIB), "backend",
		backend ? backend : BACKEND_DEFAULT, "size_bytes",
		(json_int_t)strtoull(proposal->size, NULL, 10), "estimate",
		proposal->memory.sentence[0] ? proposal->memory.sentence : NULL, "catalog", path,
		"registered", cli->options[OPTION_DRY_RUN] == NULL);
	enum exit_code status = print_json(cli, answer);

	json_decref(answer);
	return status;
}

static enum exit_code tell(const struct cli *cli, const struct proposal *proposal, const char *path)
{
	const char *by_option = "by its option";

	if (cli->json)
		return tell_json(cli, proposal, path);
	say(stdout, "model         %s (%s)\n", proposal->id,
	    cli->options[OPTION_ID] ? by_option : "the file's name");
	say(stdout, "name          %s\n", proposal->name[0] ? proposal->name : "-");
	say(stdout, "file          %s\n", proposal->path);
	if (proposal->info.split_count > 1)
		say(stdout, "parts         %u, of which this is the first\n",
		    proposal->info.split_count);
	say(stdout, "capability    %s (%s%s)\n", proposal->capability,
	    proposal->why ? "its architecture is " : "", proposal->why ? proposal->why : by_option);
	if (proposal->context[0] && cli->options[OPTION_CONTEXT])
		say(stdout, "context       %s tokens (%s)\n", proposal->context, by_option);
	else if (proposal->context[0])
		say(stdout,
		    "context       %s tokens (of the %u that it was made for; --context takes "
		    "more of them)\n",
		    proposal->context, proposal->info.context_tokens);
	say(stdout, "memory        %s MiB: %s\n", proposal->memory_mb,
	    proposal->memory.sentence[0] ? proposal->memory.sentence : by_option);
	if (cli->options[OPTION_DRY_RUN])
		say(stdout, "nothing was written; it would be to %s\n", path);
	else
		say(stdout,
		    "registered in %s\nits SHA-256 is not known yet; models verify %s --record "
		    "writes it there\n",
		    path, proposal->id);
	return EXIT_OK;
}

enum exit_code command_models_register(struct cli *cli, int argc, char **argv)
{
	struct proposal proposal = { .capability = NULL };
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status;
	const char *path = NULL;
	int rc;

	(void)argc;
	if (take_path(argv[0], &proposal, &err) || look_at_file(&proposal, &err) ||
	    check_is_model(&proposal, &err))
		return report(cli, &err);
	status = choose(cli, &proposal);
	if (status)
		return status;
	rc = pc_config_load(cli->options[OPTION_CONFIG], NULL, 0, &cli->settings, &err);
	if (rc == 0)
		rc = choose_catalog(cli, &path, &err);
	if (rc == 0)
		rc = register_proposal(cli, &proposal, path, &err);
	return rc ? report(cli, &err) : tell(cli, &proposal, path);
}
