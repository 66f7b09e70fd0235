/* SPDX-License-Identifier: MIT */
/*
 * sha256.c - SHA-256 by libcrypto (docs/decisions/0015); no other file knows of that library. A sum
 * belongs to one thread at a time.
 */
#include "catalog/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

/* libcrypto's context is ours under another name. */
static EVP_MD_CTX *context_of(struct pc__sha256 *sum)
{
	return (EVP_MD_CTX *)sum;
}

/* libcrypto fails where it has no memory, or where its configuration forbids SHA-256. */
static int failed(struct pc_error *err)
{
	return pc_error_set(err, PC_E_INTERNAL, "libcrypto cannot compute a SHA-256");
}

int pc__sha256_create(struct pc__sha256 **ret_sum, struct pc_error *err)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (!context)
		return pc_error_oom(err);
	if (EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(context);
		return failed(err);
	}
	*ret_sum = (struct pc__sha256 *)context;
	return 0;
}

int pc__sha256_add(struct pc__sha256 *sum, const void *data, size_t length, struct pc_error *err)
{
	return EVP_DigestUpdate(context_of(sum), data, length) == 1 ? 0 : failed(err);
}

int pc__sha256_finish(struct pc__sha256 *sum, char out[PC__SHA256_TEXT], struct pc_error *err)
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	if (EVP_DigestFinal_ex(context_of(sum), raw, &length) != 1 ||
	    length * 2 + 1 != PC__SHA256_TEXT)
		return failed(err);
	for (unsigned i = 0; i < length; i++)
		snprintf(out + (size_t)i * 2, 3, "%02x", raw[i]);
	return 0;
}

void pc__sha256_destroy(struct pc__sha256 *sum)
{
	EVP_MD_CTX_free(context_of(sum));
}

int pc__sha256_of(const void *data, size_t length, char out[PC__SHA256_TEXT], struct pc_error *err)
{
	struct pc__sha256 *sum = NULL;
	int rc = pc__sha256_create(&sum, err);

	if (rc)
		return rc;
	rc = pc__sha256_add(sum, data, length, err);
	if (rc == 0)
		rc = pc__sha256_finish(sum, out, err);
	pc__sha256_destroy(sum);
	return rc;
}
