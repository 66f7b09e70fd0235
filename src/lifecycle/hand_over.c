/* SPDX-License-Identifier: MIT */
/*
 * hand_over.c - whether a worker gets its model by path or by descriptor. It opens, passes and
 * closes nothing: who spawns does. Any thread. Why not always by descriptor: docs/decisions/0017.
 */
#include <poolcore/lifecycle.h>

#include <string.h>

#define TEXT_OF(number) #number
#define PATH_OF(number) "/proc/self/fd/" TEXT_OF(number)

static bool goes_by_descriptor(const struct pc_backend_config *backend,
			       const struct pc_model_file *file)
{
	if (!backend->model_by || strcmp(backend->model_by, "path") == 0)
		return false;
	return strcmp(backend->model_by, "descriptor") == 0 || file->is_whole;
}

static int refuse_part(const struct pc_backend_config *backend, const struct pc_model_file *file,
		       struct pc_error *err)
{
	pc_error_set(
		err, PC_E_INVALID_CONFIG,
		"backends.%.80s.model_by is \"descriptor\" and the file of model \"%s\", %s, is "
		"one of several, which are found by their names only; use \"auto\" or \"path\"",
		backend->name, file->model_id, file->path);
	pc_error_detail(err, "key", "backends.%.80s.model_by", backend->name);
	pc_error_detail(err, "model", "%s", file->model_id);
	return PC_E_INVALID_CONFIG;
}

int pc_model_hand_over(const struct pc_backend_config *backend, const struct pc_model_file *file,
		       struct pc_hand_over *ret_hand_over, struct pc_error *err)
{
	int rc;

	if (!backend || !backend->name || !ret_hand_over)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a backend with a name and a place for the answer are needed");
	rc = pc_model_file_check(file, err);
	if (rc)
		return rc;
	if (!goes_by_descriptor(backend, file)) {
		*ret_hand_over = (struct pc_hand_over){ .model_path = file->path, .fd = -1 };
		return 0;
	}
	if (file->is_part)
		return refuse_part(backend, file, err);
	*ret_hand_over = (struct pc_hand_over){ .model_path = PATH_OF(PC_MODEL_FD),
						.fd = file->fd };
	return 0;
}
