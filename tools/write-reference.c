/* SPDX-License-Identifier: MIT */
/*
 * write-reference - completes a manual page with the reference that the library writes from its own
 * tables, so that page and parser cannot disagree. Copies the page to standard output and puts the
 * reference where the line `.\" REFERENCE` stands. Runs at build time; one thread.
 *
 *   write-reference config|catalog PAGE
 */
#include <poolcore/catalog.h>
#include <poolcore/config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef int (*reference_writer)(FILE *file, struct pc_error *err);

static reference_writer find_writer(const char *name)
{
	static const struct {
		const char *name;
		reference_writer write;
	} writers[] = {
		{ "config", pc_config_write_reference },
		{ "catalog", pc_catalog_write_reference },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(writers); i++) {
		if (strcmp(writers[i].name, name) == 0)
			return writers[i].write;
	}
	return NULL;
}

/* Returns how many references were put in, or a negative error. */
static int complete(FILE *page, reference_writer write, struct pc_error *err)
{
	char line[1024];
	int count = 0;

	while (fgets(line, sizeof(line), page)) {
		if (strcmp(line, ".\\\" REFERENCE\n") != 0) {
			fputs(line, stdout);
			continue;
		}
		if (write(stdout, err))
			return err->code;
		count++;
	}
	if (ferror(page) || fflush(stdout) != 0)
		return pc_error_sys(err, PC_E_IO, errno, "cannot copy the page");
	return count;
}

int main(int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	reference_writer write = argc == 3 ? find_writer(argv[1]) : NULL;
	int count;

	if (!write) {
		fputs("usage: write-reference config|catalog PAGE\n", stderr);
		return 2;
	}

	FILE *page = fopen(argv[2], "re");

	if (!page) {
		fprintf(stderr, "write-reference: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	count = complete(page, write, &err);
	fclose(page);
	if (count < 0) {
		fprintf(stderr, "write-reference: %s: %s\n", argv[2], err.message);
		return 1;
	}
	if (count != 1) {
		fprintf(stderr, "write-reference: %s wants its reference %d times, not once\n",
			argv[2], count);
		return 1;
	}
	return 0;
}
