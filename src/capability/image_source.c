/* SPDX-License-Identifier: MIT */
/*
 * image_source.c - gets the bytes of an image file: from a path, from memory, out of base64, or
 * from the program's own fetcher. It decodes no pixels and speaks to no server. The caller's
 * thread.
 */
#include "capability/image_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "capability/base64.h"

/* The longest text that can hold an image, with room for the head of a data: URL. */
#define BASE64_MAX_CHARACTERS ((size_t)PC_IMAGE_MAX_BYTES / 3 * 4 + 1024)

static int too_large(const char *what, struct pc_error *err)
{
	char size[32];

	return pc_error_set(err, PC_E_PAYLOAD_TOO_LARGE, "%s is larger than the %s of an image",
			    what, pc_format_size(PC_IMAGE_MAX_BYTES, size));
}

/* ---- a file ---- */

/* All of an open file of `size` bytes, or less where it became shorter meanwhile. */
static int read_all(int fd, const char *path, size_t size, void **ret_data, size_t *ret_length,
		    struct pc_error *err)
{
	pc_auto(pc_free) char *data = pc_malloc(size);
	size_t done = 0;

	if (!data)
		return pc_error_oom(err);
	while (done < size) {
		ssize_t got = read(fd, data + done, size - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return pc_error_sys(err, PC_E_IO, errno, "cannot read '%s'", path);
		if (got == 0)
			break;
		done += (size_t)got;
	}
	*ret_data = pc_steal(&data);
	*ret_length = done;
	return 0;
}

static int read_open(int fd, const char *path, void **ret_data, size_t *ret_length,
		     struct pc_error *err)
{
	struct stat facts;
	char what[PC_ERROR_MESSAGE_MAX / 2];

	if (fstat(fd, &facts))
		return pc_error_sys(err, PC_E_IO, errno, "cannot examine '%s'", path);
	if (!S_ISREG(facts.st_mode))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "'%s' is not a regular file", path);
	if ((uint64_t)facts.st_size > PC_IMAGE_MAX_BYTES) {
		snprintf(what, sizeof(what), "'%s'", path);
		return too_large(what, err);
	}
	return read_all(fd, path, (size_t)facts.st_size, ret_data, ret_length, err);
}

static int read_path(const char *path, void **ret_data, size_t *ret_length, struct pc_error *err)
{
	if (!path || !*path)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "its path is %s",
				    path ? "empty" : "NULL");

	/* A pipe that nobody writes to would be waited for without O_NONBLOCK. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return pc_error_sys(err,
				    errno == ENOENT || errno == ENOTDIR ? PC_E_NOT_FOUND : PC_E_IO,
				    errno, "cannot open '%s'", path);

	int rc = read_open(fd, path, ret_data, ret_length, err);

	close(fd);
	return rc;
}

/* ---- a text ---- */

static bool is_data_url(const char *text)
{
	return strncasecmp(text, "data:", 5) == 0;
}

/* Moves *text behind the head of a data: URL, "data:[type][;parameter]...;base64," (RFC 2397). */
static int skip_data_url(const char **text, struct pc_error *err)
{
	static const char mark[] = ";base64";
	const char *head = *text + strlen("data:");
	/* The head is short; a comma further on is no part of it. */
	const char *comma = memchr(head, ',', strnlen(head, 1024));
	size_t length = comma ? (size_t)(comma - head) : 0;

	if (!comma)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the data: URL has no comma in front of its data");
	if (length < strlen(mark) || strncasecmp(comma - strlen(mark), mark, strlen(mark)) != 0)
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"the data: URL is not in base64 (\"data:image/png;base64,...\")");
	*text = comma + 1;
	return 0;
}

static int read_base64(const char *text, void **ret_data, size_t *ret_length, struct pc_error *err)
{
	if (!text)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "its base64 text is NULL");
	if (is_data_url(text)) {
		int rc = skip_data_url(&text, err);

		if (rc)
			return rc;
	}

	size_t length = strnlen(text, BASE64_MAX_CHARACTERS + 1);

	/* Before it is decoded; what is only a little too large is found afterwards. */
	if (length > BASE64_MAX_CHARACTERS)
		return too_large("what its base64 text holds", err);
	return pc__base64_decode(text, length, ret_data, ret_length, err);
}

/* ---- the program's fetcher ---- */

static int read_url(const char *url, const struct pc_image_fetcher *fetcher, void **ret_data,
		    size_t *ret_length, struct pc_error *err)
{
	struct pc_error said;
	void *data = NULL;
	size_t length = 0;

	if (!url || !*url)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "its URL is %s",
				    url ? "empty" : "NULL");
	if (is_data_url(url))
		return read_base64(url, ret_data, ret_length, err);
	if (!fetcher || !fetcher->fetch)
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"it is a URL and no fetcher was given (struct pc_image_fetcher); "
			"give one, or the image's bytes");
	pc_error_clear(&said);

	int rc = fetcher->fetch(fetcher->ctx, url, &data, &length, &said);

	if (rc == 0) {
		*ret_data = data;
		*ret_length = data ? length : 0;
		return 0;
	}
	/* The URL may hold a secret, so it is not repeated; the fetcher may do so. */
	if (rc > 0)
		rc = PC_E_IO;
	return pc_error_set(err, rc, "its URL cannot be fetched: %s",
			    said.code ? said.message : pc_error_text(rc));
}

/* ---- one, and many ---- */

static int copy_bytes(const struct pc_image *bytes, void **ret_data, struct pc_error *err)
{
	void *data = pc_malloc(bytes->length);

	if (!data)
		return pc_error_oom(err);
	memcpy(data, bytes->data, bytes->length);
	*ret_data = data;
	return 0;
}

/* *ret_held stays NULL where the image is the caller's memory. It is set after an error too when
 * there is something to free. */
static int read_source(const struct pc_image_source *source, bool copy, struct pc_image *ret_image,
		       void **ret_held, struct pc_error *err)
{
	int rc = 0;

	switch (source->kind) {
	case PC_IMAGE_PATH:
		rc = read_path(source->path, ret_held, &ret_image->length, err);
		break;
	case PC_IMAGE_BYTES:
		*ret_image = source->bytes;
		if (!ret_image->data)
			ret_image->length = 0;
		break;
	case PC_IMAGE_BASE64:
		rc = read_base64(source->base64, ret_held, &ret_image->length, err);
		break;
	case PC_IMAGE_URL:
		rc = read_url(source->url, source->fetcher, ret_held, &ret_image->length, err);
		break;
	case PC_IMAGE_NONE:
	default:
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"its source is of no kind (%d); it may be a path, bytes, base64 or "
			"a URL",
			(int)source->kind);
	}
	if (rc)
		return rc;
	if (ret_image->length == 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "it is empty");
	if (ret_image->length > PC_IMAGE_MAX_BYTES)
		return too_large("it", err);
	if (source->kind == PC_IMAGE_BYTES && copy)
		rc = copy_bytes(&source->bytes, ret_held, err);
	if (*ret_held)
		ret_image->data = *ret_held;
	return rc;
}

static struct pc__images *images_alloc(size_t count)
{
	struct pc__images *images;
	size_t size;

	if (__builtin_mul_overflow(count, sizeof(*images->images) + sizeof(*images->held), &size) ||
	    __builtin_add_overflow(size, sizeof(*images), &size))
		return NULL;
	images = pc_calloc(1, size);
	if (!images)
		return NULL;
	images->count = count;
	images->images = (struct pc_image *)(images + 1);
	images->held = (void **)(images->images + count);
	return images;
}

void pc__images_free(struct pc__images *images)
{
	if (!images)
		return;
	for (size_t i = 0; i < images->count; i++)
		pc_free(images->held[i]);
	pc_free(images);
}

static int read_nth(struct pc__images *images, const struct pc_image_source *sources, size_t i,
		    bool copy, struct pc_error *err)
{
	char size[32];
	int rc = read_source(&sources[i], copy, &images->images[i], &images->held[i], err);

	if (!rc && images->held[i])
		images->held_bytes += images->images[i].length;
	if (!rc && images->held_bytes > PC__IMAGES_MAX_BYTES)
		rc = pc_error_set(err, PC_E_PAYLOAD_TOO_LARGE,
				  "up to here the batch has more than %s to be read",
				  pc_format_size(PC__IMAGES_MAX_BYTES, size));
	if (rc && images->count == 1)
		pc_error_prefix(err, "the image");
	else if (rc)
		pc_error_prefix(err, "image %zu", i);
	if (rc)
		pc_error_detail(err, "image_index", "%zu", i);
	return rc;
}

int pc__images_read(const struct pc_image_source *sources, size_t count, bool copy,
		    struct pc__images **ret_images, struct pc_error *err)
{
	struct pc__images *images = images_alloc(count);
	int rc = 0;

	if (!images)
		return pc_error_oom(err);
	for (size_t i = 0; !rc && i < count; i++)
		rc = read_nth(images, sources, i, copy, err);
	if (rc)
		pc__images_free(images);
	else
		*ret_images = images;
	return rc;
}
