/* SPDX-License-Identifier: MIT */
/* models.c - rbees-pool models info|verify: the catalog's files themselves. It asks no daemon. */
#include <poolcore/catalog.h>
#include <poolcore/catalog_edit.h>
#include <poolcore/config.h>
#include <poolcore/engine.h>
#include <poolcore/gguf.h>
#include <poolcore/model_file.h>
#include <poolcore/text.h>

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* ---- the catalog ---- */

/* Of many who save at once one always comes through. A guess; change freely. */
#define SAVE_TRIES 100

int load_catalog(struct cli *cli, struct pc_catalog **ret_catalog, struct pc_error *err)
{
	int rc = pc_config_load(cli->options[OPTION_CONFIG], NULL, 0, &cli->settings, err);

	return rc ? rc : pc_catalog_load(cli->settings, ret_catalog, err);
}

int find_model(struct cli *cli, const char *name, struct pc_catalog **ret_catalog,
	       const struct pc_model_entry **ret_entry, struct pc_error *err)
{
	struct pc_catalog *catalog;
	int rc = load_catalog(cli, &catalog, err);

	if (rc)
		return rc;
	rc = pc_catalog_get(catalog, name, ret_entry, err);
	if (rc) {
		pc_catalog_free(catalog);
		return rc;
	}
	*ret_catalog = catalog;
	return 0;
}

bool save_again(int rc, unsigned *tries, struct pc_error *err)
{
	if (rc != PC_E_CONFLICT || ++*tries == SAVE_TRIES)
		return false;
	pc_error_clear(err);
	return true;
}

/* ---- info ---- */

uint32_t usual_context(const char *backend, const struct pc_gguf_info *info)
{
	uint32_t own = info->context_tokens;

	/* Of another backend it is not known; most take all of it, as llama-server does. */
	if (strcmp(backend, BACKEND_DEFAULT) != 0)
		return own;
	return own && own < PC_ENGINE_CONTEXT_TOKENS ? own : PC_ENGINE_CONTEXT_TOKENS;
}

static void print_info(const struct pc_model_entry *entry, const struct pc_gguf_info *info,
		       const struct pc_gguf_memory *memory)
{
	char tensors[32], total[32], reserved[32];

	say(stdout, "model         %s\nfile          %s\n", entry->id, entry->path);
	if (info->split_count > 1)
		say(stdout, "parts         %u, of which this is the first\n", info->split_count);
	say(stdout, "name          %s\narchitecture  %s\n", info->name[0] ? info->name : "-",
	    info->architecture);
	say(stdout, "quantisation  %s (%u %% of the parameters are %s)\n",
	    info->file_type[0] ? info->file_type : "-", info->most_percent,
	    info->most_type[0] ? info->most_type : "-");
	say(stdout, "parameters    %" PRIu64 "\ntensors       %" PRIu64 ", %s\n", info->parameters,
	    info->tensor_count, pc_format_size(info->tensor_bytes, tensors));
	say(stdout, "context       %u tokens\nlayers        %u\n", info->context_tokens,
	    info->layers);
	say(stdout, "embedding     %u\nheads         %u, of which %u have keys and values\n",
	    info->embedding_length, info->heads, info->kv_heads);
	say(stdout, "vocabulary    %u\n", info->vocabulary);
	say(stdout, "memory        about %s: %s\nreserved      %s, by the catalog\n",
	    pc_format_size(memory->total_bytes, total), memory->sentence,
	    pc_format_size(entry->memory_bytes, reserved));
}

static json_t *info_as_json(const struct pc_model_entry *entry, const struct pc_gguf_info *info,
			    const struct pc_gguf_memory *memory)
{
	json_t *estimate = json_pack("{s:I, s:I, s:I, s:I, s:s}", "weights_bytes",
				     (json_int_t)memory->weights_bytes, "cache_bytes",
				     (json_int_t)memory->cache_bytes, "compute_bytes",
				     (json_int_t)memory->compute_bytes, "total_bytes",
				     (json_int_t)memory->total_bytes, "sentence", memory->sentence);

	return json_pack(
		"{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:I, s:o}",
		"id", entry->id, "path", entry->path, "gguf_version", (int)info->version,
		"split_count", (int)info->split_count, "name", info->name, "architecture",
		info->architecture, "file_type", info->file_type, "most_type", info->most_type,
		"most_percent", (int)info->most_percent, "parameters", (json_int_t)info->parameters,
		"tensor_count", (json_int_t)info->tensor_count, "context_tokens",
		(json_int_t)info->context_tokens, "layers", (json_int_t)info->layers,
		"embedding_length", (json_int_t)info->embedding_length, "heads",
		(json_int_t)info->heads, "kv_heads", (json_int_t)info->kv_heads, "vocabulary",
		(json_int_t)info->vocabulary, "memory_bytes", (json_int_t)entry->memory_bytes,
		"estimate", estimate);
}

static int read_info(const struct pc_model_entry *entry, struct pc_gguf_info *ret_info,
		     struct pc_error *err)
{
	int fd = -1, rc = pc_model_entry_open(entry, &fd, err);

	if (rc)
		return rc;
	rc = pc_gguf_read_model(fd, entry->path, ret_info, err);
	close(fd);
	if (rc)
		pc_error_prefix(err, "model \"%s\": %s", entry->id, entry->path);
	return rc;
}

static enum exit_code show_info(const struct cli *cli, const struct pc_model_entry *entry,
				struct pc_gguf_use *use)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status = EXIT_OK;
	struct pc_gguf_memory memory;
	struct pc_gguf_info info;
	json_t *answer;

	if (read_info(entry, &info, &err))
		return report(cli, &err);
	if (use->context_tokens == 0)
		use->context_tokens = usual_context(entry->backend, &info);
	if (pc_gguf_estimate(&info, use, &memory, &err))
		return report(cli, &err);
	if (!cli->json) {
		print_info(entry, &info, &memory);
		return status;
	}
	answer = info_as_json(entry, &info, &memory);
	status = print_json(cli, answer);
	json_decref(answer);
	return status;
}

enum exit_code command_models_info(struct cli *cli, int argc, char **argv)
{
	const struct pc_model_entry *entry = NULL;
	struct pc_gguf_use use = { .slots = 0 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_catalog *catalog = NULL;
	enum exit_code status;

	(void)argc;
	if (find_model(cli, argv[0], &catalog, &entry, &err))
		return report(cli, &err);
	use.context_tokens = entry->context_tokens;
	use.slots = entry->slots;
	status = number_option(cli, OPTION_CONTEXT, "--context", CONTEXT_MAX, &use.context_tokens);
	if (!status)
		status = number_option(cli, OPTION_SLOTS, "--slots", SLOTS_MAX, &use.slots);
	if (!status)
		status = show_info(cli, entry, &use);
	pc_catalog_free(catalog);
	return status;
}

/* ---- verify ---- */

/* Tells a person, on the line that the result replaces, how far it is. */
struct progress {
	const char *id;
	unsigned percent;
	bool shown;
};

static bool show_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	struct progress *progress = ctx;
	unsigned percent = (unsigned)((double)done_bytes * 100 / (double)total_bytes);

	if (percent == progress->percent)
		return true;
	progress->percent = percent;
	progress->shown = true;
	/* An id has no control characters: the catalog refuses them. */
	fprintf(stderr, "\r%s: %u %%", progress->id, percent);
	fflush(stderr);
	return true;
}

char *record_folder(const struct cli *cli)
{
	static const char name[] = "verified";
	size_t size = strlen(cli->settings->pool_state_dir) + sizeof(name) + 1;
	char *path = pc_malloc(size);

	if (path)
		snprintf(path, size, "%s/%s", cli->settings->pool_state_dir, name);
	return path;
}

static int verify(const struct cli *cli, const struct pc_model_entry *entry,
		  struct pc_model_file *ret_file, struct pc_error *err)
{
	pc_auto(pc_free) char *folder = record_folder(cli);
	struct progress progress = { .id = entry->id };
	struct pc_verify_options options = {
		.record_dir = folder,
		.hash_all = true,
		.rehash = cli->options[OPTION_REHASH],
		.progress = isatty(STDERR_FILENO) ? show_progress : NULL,
		.ctx = &progress,
	};
	int rc;

	if (!folder)
		return pc_error_oom(err);
	rc = pc_model_file_open(entry, &options, ret_file, err);
	if (progress.shown)
		fputs("\r\033[K", stderr);
	return rc;
}

static int record_once(const struct cli *cli, const struct pc_model_entry *entry,
		       const struct pc_model_file *file, struct pc_error *err)
{
	struct pc_catalog_edit *edit = NULL;
	char size[32];
	int rc;

	snprintf(size, sizeof(size), "%" PRIu64, file->identity.size_bytes);
	rc = pc_catalog_edit_open(cli->settings, entry->source_file, &edit, err);
	if (rc == 0 && entry->size_bytes == 0)
		rc = pc_catalog_edit_set(edit, entry->id, "size", size, err);
	if (rc == 0 && !entry->sha256[0])
		rc = pc_catalog_edit_set(edit, entry->id, "sha256", file->sha256, err);
	if (rc == 0)
		rc = pc_model_file_check(file, err);
	if (rc == 0)
		rc = pc_catalog_edit_save(edit, err);
	pc_catalog_edit_close(edit);
	return rc;
}

/* Writes what the catalog does not say yet; *ret_recorded: there was something. */
static int record(const struct cli *cli, const struct pc_model_entry *entry,
		  const struct pc_model_file *file, bool *ret_recorded, struct pc_error *err)
{
	unsigned tries = 0;
	int rc;

	*ret_recorded = !entry->sha256[0] || entry->size_bytes == 0;
	if (!*ret_recorded)
		return 0;
	do
		rc = record_once(cli, entry, file, err);
	while (save_again(rc, &tries, err));
	return rc;
}

static enum exit_code tell_verified(const struct cli *cli, const struct pc_model_entry *entry,
				    const struct pc_model_file *file, bool recorded)
{
	bool compared = entry->sha256[0] != '\0'; /* and is the same, or it would be refused */
	enum exit_code status = EXIT_OK;
	char size[32];

	if (file->note[0])
		say(stderr, "rbees-pool: %s\n", file->note);
	if (cli->json) {
		json_t *answer = json_pack("{s:s, s:s, s:I, s:s, s:b, s:b, s:b}", "id", entry->id,
					   "path", entry->path, "size_bytes",
					   (json_int_t)file->identity.size_bytes, "sha256",
					   file->sha256, "compared", compared, "from_record",
					   file->from_record, "recorded", recorded);

		status = print_json(cli, answer);
		json_decref(answer);
		return status;
	}
	say(stdout, "%s: %s, %s, SHA-256 %s%s\n", entry->id,
	    compared ? "ok" : "nothing to compare with",
	    pc_format_size(file->identity.size_bytes, size), file->sha256,
	    file->from_record ? " (unchanged since it was read)" : "");
	if (recorded)
		say(stdout, "recorded in %s\n", entry->source_file);
	else if (!compared)
		say(stdout, "the catalog has no SHA-256 of it; --record writes this one there\n");
	return status;
}

enum exit_code command_models_verify(struct cli *cli, int argc, char **argv)
{
	const struct pc_model_entry *entry = NULL;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_catalog *catalog = NULL;
	struct pc_model_file file;
	enum exit_code status;
	bool recorded = false;

	(void)argc;
	if (find_model(cli, argv[0], &catalog, &entry, &err))
		return report(cli, &err);
	if (verify(cli, entry, &file, &err)) {
		status = report(cli, &err);
		pc_catalog_free(catalog);
		return status;
	}
	if (cli->options[OPTION_RECORD] && record(cli, entry, &file, &recorded, &err))
		status = report(cli, &err);
	else
		status = tell_verified(cli, entry, &file, recorded);
	pc_model_file_close(&file);
	pc_catalog_free(catalog);
	return status;
}
