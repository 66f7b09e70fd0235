/* SPDX-License-Identifier: MIT */
/*
 * jpeg.c - JPEG files to pixels, with libjpeg (libjpeg-turbo's).
 *
 * libjpeg says that it cannot go on by calling error_exit, which must not return: here it jumps
 * back to where the decoding began. Everything that is needed behind the jump is inside of struct
 * decoder, which is no local variable of the function that called setjmp.
 *
 * A damaged file is refused, not guessed at: libjpeg would only warn, and paint grey what is
 * missing. Its own working memory is the C library's, at most 6 bytes for each pixel.
 */
#include "image.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

/*
 * A progressive file may refine its pixels as often as it likes, each time at the cost of a whole
 * decoding for a few bytes. No encoder makes more than 20 passes; this many are what the authors of
 * libjpeg-turbo let their fuzzers try ("Two Issues with the JPEG Standard", 2015).
 */
#define SCANS_MAX 500

struct decoder {
	struct jpeg_error_mgr errors; /* first: libjpeg knows no other way back */
	struct jpeg_progress_mgr progress;
	struct jpeg_decompress_struct jpeg;
	struct image image;
	struct pc_error *err;
	int rc;
	jmp_buf back;
};

static struct decoder *decoder_of(j_common_ptr jpeg)
{
	return (struct decoder *)(void *)jpeg->err;
}

_Noreturn static void give_up(j_common_ptr jpeg)
{
	struct decoder *decoder = decoder_of(jpeg);
	char message[JMSG_LENGTH_MAX];

	jpeg->err->format_message(jpeg, message);
	decoder->rc = pc_error_set(decoder->err, PC_E_INVALID_REQUEST,
				   "the JPEG image cannot be read: %s", message);
	longjmp(decoder->back, 1);
}

/* Level -1 is data that is not what it should be; the others are for people who watch. */
static void on_message(j_common_ptr jpeg, int level)
{
	if (level < 0)
		give_up(jpeg);
}

static void on_progress(j_common_ptr jpeg)
{
	struct decoder *decoder = decoder_of(jpeg);

	if (decoder->jpeg.input_scan_number <= SCANS_MAX)
		return;
	decoder->rc = pc_error_set(decoder->err, PC_E_INVALID_REQUEST,
				   "the JPEG image has more than %d scans", SCANS_MAX);
	longjmp(decoder->back, 1);
}

static void read_pixels(struct decoder *decoder, const struct pc_image *file)
{
	struct jpeg_decompress_struct *jpeg = &decoder->jpeg;

	jpeg_create_decompress(jpeg);
	jpeg->progress = &decoder->progress;
	jpeg_mem_src(jpeg, file->data, (unsigned long)file->length);
	jpeg_read_header(jpeg, TRUE);
	decoder->rc = image_init(&decoder->image, jpeg->image_width, jpeg->image_height,
				 decoder->err);
	if (decoder->rc)
		return;
	jpeg->out_color_space = JCS_RGB;
	jpeg_start_decompress(jpeg);
	while (jpeg->output_scanline < jpeg->output_height) {
		JSAMPROW row = decoder->image.rgb +
			       (size_t)jpeg->output_scanline * decoder->image.width * 3;

		jpeg_read_scanlines(jpeg, &row, 1);
	}
	/* Reads to the end: a file that ends before its end marker was cut. */
	jpeg_finish_decompress(jpeg);
}

/* What setjmp needs: a function whose own locals do not change. */
static void try_to_read(struct decoder *decoder, const struct pc_image *file)
{
	if (setjmp(decoder->back) == 0)
		read_pixels(decoder, file);
}

int jpeg_decode(const struct pc_image *file, struct image *ret_image, struct pc_error *err)
{
	struct decoder decoder = { .err = err };

	decoder.jpeg.err = jpeg_std_error(&decoder.errors);
	decoder.errors.error_exit = give_up;
	decoder.errors.emit_message = on_message;
	decoder.progress.progress_monitor = on_progress;
	try_to_read(&decoder, file);
	jpeg_destroy_decompress(&decoder.jpeg);
	if (decoder.rc) {
		image_fini(&decoder.image);
		return decoder.rc;
	}
	*ret_image = decoder.image;
	return 0;
}
