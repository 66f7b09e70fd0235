/* SPDX-License-Identifier: MIT */
/*
 * make-demo-model - writes a language model small enough to make on the spot: an exact word-bigram
 * model in llama architecture, as a GGUF file that llama.cpp loads like any other. It chatters; it
 * knows nothing. No package of a distribution carries weights, and a real engine needs real ones.
 *
 *   make-demo-model [--vocab N] --output FILE DIR_OR_FILE...
 *
 * The texts are in the form of fortune(6): pieces between lines of a single '%'. Of a folder every
 * plain file is read whose name has no dot (fortune's indexes have one), in the order of their
 * names, except those in `left_out`. The same texts give the same bytes. One thread.
 *
 * How a transformer becomes a bigram model: the embedding matrix is the identity, so a word's
 * vector is the unit vector of its number. Attention and feed-forward weights are zero, so the one
 * block adds nothing. The final norm multiplies a unit vector of n members by sqrt(n), and its
 * weights, 1/sqrt(n), take that back. What reaches the output matrix is the unit vector still, and
 * picks one column of it: log P(next | this).
 *
 * How an answer ends: only after a sentence's mark that the model wrote itself. The marks of the
 * prompt are other tokens (the tokenizer cannot produce byte tokens) with the same successors but
 * the end, so that no answer is empty because a question ends in '?'.
 *
 * Formats: the GGUF specification, version 3 (ggml's docs/gguf.md); tensor names and shapes as
 * llama.cpp's `llama` architecture has them. The tokenizer is the unigram one that llama.cpp
 * calls "t5": it finds whole words without merge rules, and takes any text (unknown stretches
 * become <unk>).
 */
#include <poolcore/base.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VOCAB_DEFAULT 2048
#define VOCAB_MIN 64
#define VOCAB_MAX 8192 /* the file grows with its square: 268 MB */
#define CONTEXT_TOKENS 2048
#define HEAD_SIZE 64 /* of attention and feed-forward, which do nothing: as small as ggml likes */
#define INPUT_MAX_BYTES (256u << 20)
#define WORD_MAX_BYTES 24

/* A text of two sentences on average would make answers of two; three times as many read better. */
#define END_WEIGHT (1.0 / 3)

/* The logarithm of the probability of what was never seen; far from every other, finite in F16. */
#define NEVER (-30.0)

/* Collections that a demonstration should not quote: coarse, dated, or not prose. */
static const char *const left_out[] = {
	"art",		"ascii-art", "cookie",	 "definitions", "drugs",    "ethnic",
	"love",		"men-women", "off",	 "perl",	"politics", "songs-poems",
	"translate-me", "zippy",     "knghtbrd", "news",
};

/* Fixed tokens; the words follow. */
enum {
	TOKEN_UNKNOWN,
	TOKEN_BEGIN,
	TOKEN_END,
	TOKEN_OWN_MARKS,			/* what the model writes: byte tokens */
	TOKEN_READ_MARKS = TOKEN_OWN_MARKS + 3, /* what the prompt holds: ordinary tokens */
	TOKEN_COMMAS = TOKEN_READ_MARKS + 3,
	TOKEN_WORDS = TOKEN_COMMAS + 3,
};

static const char marks[] = ".!?";
static const char commas[] = ",;:";

/* GGUF's type numbers. */
enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9 };
enum { GGML_F32 = 0, GGML_F16 = 1 };
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_BYTE = 6 };

static const char *progname = "make-demo-model";

PC_PRINTF(1, 2) __attribute__((noreturn)) static void die(const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", progname);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void *need(void *memory)
{
	if (!memory)
		die("out of memory");
	return memory;
}

/* ---- the texts ---- */

/*
 * Every distinct word, in the order of its first appearance, with an index by hash; and all texts
 * as a row of word numbers. Negative numbers are not words: PIECE_END between texts, SKIPPED for
 * what is no word, and MARK - i for marks and commas.
 */
enum { PIECE_END = -1, SKIPPED = -2, MARK = -3 };

struct word {
	char text[WORD_MAX_BYTES + 1];
	uint32_t count;
	uint32_t token; /* 0: not in the vocabulary */
};

struct corpus {
	struct word *words;
	size_t word_count, word_room;
	uint32_t *index;   /* word number + 1; 0: free */
	size_t index_room; /* a power of two */
	int32_t *stream;
	size_t length, room;
	size_t bytes;
};

/* FNV-1a, 32 bit (RFC 9923). */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	while (*text)
		h = (h ^ (unsigned char)*text++) * 16777619u;
	return h;
}

static void push(struct corpus *corpus, int32_t item)
{
	if (corpus->length == corpus->room) {
		corpus->room = corpus->room ? corpus->room * 2 : 4096;
		corpus->stream = need(
			pc_realloc(corpus->stream, corpus->room * sizeof(*corpus->stream)));
	}
	corpus->stream[corpus->length++] = item;
}

/* The index slot of `text`: where it is, or where it would go. */
static uint32_t *index_slot(struct corpus *corpus, const char *text)
{
	size_t at = hash(text) & (corpus->index_room - 1);

	while (corpus->index[at] && strcmp(corpus->words[corpus->index[at] - 1].text, text) != 0)
		at = (at + 1) & (corpus->index_room - 1);
	return &corpus->index[at];
}

static void grow_index(struct corpus *corpus)
{
	corpus->index_room = corpus->index_room ? corpus->index_room * 2 : 8192;
	pc_free(corpus->index);
	corpus->index = need(pc_calloc(corpus->index_room, sizeof(*corpus->index)));
	for (size_t i = 0; i < corpus->word_count; i++)
		*index_slot(corpus, corpus->words[i].text) = (uint32_t)i + 1;
}

static void push_word(struct corpus *corpus, const char *text)
{
	if (corpus->word_count * 2 >= corpus->index_room)
		grow_index(corpus);
	uint32_t *slot = index_slot(corpus, text);

	if (!*slot) {
		if (corpus->word_count == corpus->word_room) {
			corpus->word_room = corpus->word_room ? corpus->word_room * 2 : 1024;
			corpus->words = need(pc_realloc(
				corpus->words, corpus->word_room * sizeof(*corpus->words)));
		}
		struct word *word = &corpus->words[corpus->word_count++];

		memset(word, 0, sizeof(*word));
		snprintf(word->text, sizeof(word->text), "%s", text);
		*slot = (uint32_t)corpus->word_count;
	}
	corpus->words[*slot - 1].count++;
	push(corpus, (int32_t)*slot - 1);
}

/* Ends a piece; one that stops without a mark gets its full stop. */
static void end_piece(struct corpus *corpus)
{
	if (corpus->length == 0 || corpus->stream[corpus->length - 1] == PIECE_END)
		return;
	int32_t last = corpus->stream[corpus->length - 1];

	if (last > MARK || last <= MARK - 3)
		push(corpus, MARK);
	push(corpus, PIECE_END);
}

static bool is_word_byte(unsigned char c)
{
	return isalpha(c) && c < 0x80;
}

/* A word from the start of `text`: letters, with single ' and - between them. Its length. */
static size_t read_word(struct corpus *corpus, const char *text, size_t left)
{
	char word[WORD_MAX_BYTES + 1];
	size_t length = 0, capitals = 0;

	while (length < left &&
	       (is_word_byte(text[length]) ||
		((text[length] == '\'' || text[length] == '-') && length > 0 && length + 1 < left &&
		 is_word_byte(text[length + 1]) && is_word_byte(text[length - 1])))) {
		capitals += (size_t)(isupper((unsigned char)text[length]) != 0);
		length++;
	}
	/* Initials and list letters are no words. */
	if (length > WORD_MAX_BYTES || (length == 1 && !strchr("aAIO", *text))) {
		push(corpus, SKIPPED);
		return length;
	}
	memcpy(word, text, length);
	word[length] = '\0';
	/* SHOUTING is the same word. */
	for (size_t i = 0; capitals > 1 && i < length; i++)
		word[i] = (char)tolower((unsigned char)word[i]);
	push_word(corpus, word);
	return length;
}

static void read_line(struct corpus *corpus, const char *line, size_t length)
{
	for (size_t i = 0; i < length;) {
		const char *mark = memchr(marks, line[i], sizeof(marks) - 1),
			   *comma = memchr(commas, line[i], sizeof(commas) - 1);

		if (is_word_byte(line[i])) {
			i += read_word(corpus, line + i, length - i);
			continue;
		}
		int32_t item = mark    ? MARK - (int32_t)(mark - marks)
			       : comma ? MARK - 3 - (int32_t)(comma - commas)
				       : SKIPPED;
		bool repeats = corpus->length > 0 && corpus->stream[corpus->length - 1] <= MARK &&
			       item <= MARK;

		/* "..." and "?!" are one mark; quotes, brackets and blanks are not there. */
		if (isdigit((unsigned char)line[i]) || (item <= MARK && !repeats))
			push(corpus, item);
		i++;
	}
}

static void read_text(struct corpus *corpus, const char *text, size_t size)
{
	bool credits = false; /* from a line that starts with -- to the end of the piece */

	for (size_t at = 0; at < size;) {
		const char *line = text + at, *end = memchr(line, '\n', size - at);
		size_t length = end ? (size_t)(end - line) : size - at;
		size_t blank = 0;

		while (blank < length && isblank((unsigned char)line[blank]))
			blank++;
		if (length == 1 && line[0] == '%') {
			end_piece(corpus);
			credits = false;
		} else if (length - blank >= 2 && line[blank] == '-' && line[blank + 1] == '-') {
			credits = true;
		} else if (!credits) {
			read_line(corpus, line, length);
		}
		at += length + 1;
	}
	end_piece(corpus);
}

static void read_file(struct corpus *corpus, const char *path)
{
	FILE *file = fopen(path, "re");
	struct stat st;

	if (!file)
		die("cannot open '%s': %s", path, strerror(errno));
	if (fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode))
		die("'%s' is not a plain file", path);
	size_t size = (size_t)st.st_size;

	corpus->bytes += size;
	if (size > INPUT_MAX_BYTES || corpus->bytes > INPUT_MAX_BYTES)
		die("'%s' makes the texts larger than %u MiB", path, INPUT_MAX_BYTES >> 20);
	char *text = need(pc_malloc(size + 1));

	if (fread(text, 1, size, file) != size)
		die("cannot read '%s': %s", path, ferror(file) ? strerror(errno) : "it shrank");
	fclose(file);
	read_text(corpus, text, size);
	pc_free(text);
}

static int wanted(const struct dirent *entry)
{
	if (strchr(entry->d_name, '.'))
		return 0;
	for (size_t i = 0; i < PC_ARRAY_LEN(left_out); i++) {
		if (strcmp(entry->d_name, left_out[i]) == 0)
			return 0;
	}
	return 1;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name); /* alphasort would ask the locale */
}

static void read_folder(struct corpus *corpus, const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, wanted, by_name);

	if (count < 0)
		die("cannot list '%s': %s", path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char name[PATH_MAX];
		struct stat st;

		if (snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name) >=
		    (int)sizeof(name))
			die("the path of '%s' is too long", entries[i]->d_name);
		if (lstat(name, &st) != 0)
			die("cannot look at '%s': %s", name, strerror(errno));
		if (S_ISREG(st.st_mode))
			read_file(corpus, name);
		free(entries[i]);
	}
	free(entries);
}

/* ---- the model ---- */

struct model {
	size_t vocab;
	const struct word **words; /* those of the vocabulary; token = TOKEN_WORDS + i */
	size_t word_count;
	double *successors; /* counts, row-major: [this * vocab + next] */
	double *totals;	    /* the sums of the rows */
};

static int more_frequent(const void *a, const void *b)
{
	const struct word *x = *(const struct word *const *)a, *y = *(const struct word *const *)b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->text, y->text);
}

static void choose_words(struct model *model, struct corpus *corpus)
{
	const struct word **sorted = need(pc_calloc(corpus->word_count + 1, sizeof(*sorted)));

	for (size_t i = 0; i < corpus->word_count; i++)
		sorted[i] = &corpus->words[i];
	qsort(sorted, corpus->word_count, sizeof(*sorted), more_frequent);
	model->words = sorted;
	model->word_count = model->vocab - TOKEN_WORDS;
	if (corpus->word_count < model->word_count)
		die("the texts have %zu different words; a vocabulary of %zu takes %zu",
		    corpus->word_count, model->vocab, model->word_count);
	for (size_t i = 0; i < model->word_count; i++)
		corpus->words[sorted[i] - corpus->words].token = (uint32_t)(TOKEN_WORDS + i);
}

/* The token of a stream's item; TOKEN_UNKNOWN breaks the chain. */
static uint32_t token_of(const struct corpus *corpus, int32_t item)
{
	if (item >= 0)
		return corpus->words[item].token;
	if (item == PIECE_END)
		return TOKEN_END;
	if (item == SKIPPED)
		return TOKEN_UNKNOWN;
	item = MARK - item;
	return item < 3 ? TOKEN_OWN_MARKS + (uint32_t)item : TOKEN_COMMAS + (uint32_t)item - 3;
}

static void count_pairs(struct model *model, const struct corpus *corpus)
{
	uint32_t last = TOKEN_BEGIN;

	model->successors = need(pc_calloc(model->vocab * model->vocab, sizeof(double)));
	for (size_t i = 0; i < corpus->length; i++) {
		uint32_t token = token_of(corpus, corpus->stream[i]);

		/* A piece does not begin with a mark, and ends only after one. */
		bool good = token != TOKEN_UNKNOWN && last != TOKEN_UNKNOWN &&
			    !(last == TOKEN_BEGIN && token < TOKEN_WORDS);

		if (good)
			model->successors[last * model->vocab + token] += token == TOKEN_END
										  ? END_WEIGHT
										  : 1;
		last = token == TOKEN_END ? TOKEN_BEGIN : token;
	}
}

static double *row(const struct model *model, size_t token)
{
	return model->successors + token * model->vocab;
}

/* Gives every token that has none its successors, and sums the rows up. */
static void complete_rows(struct model *model)
{
	size_t vocab = model->vocab;

	/* After what it does not know, and after an end, the model begins anew. */
	memcpy(row(model, TOKEN_UNKNOWN), row(model, TOKEN_BEGIN), vocab * sizeof(double));
	memcpy(row(model, TOKEN_END), row(model, TOKEN_BEGIN), vocab * sizeof(double));
	for (size_t i = 0; i < 3; i++) {
		double *read = row(model, TOKEN_READ_MARKS + i);

		memcpy(read, row(model, TOKEN_OWN_MARKS + i), vocab * sizeof(double));
		read[TOKEN_END] = 0;
	}
	model->totals = need(pc_calloc(vocab, sizeof(double)));
	for (size_t token = 0; token < vocab; token++) {
		double *counts = row(model, token);

		for (size_t next = 0; next < vocab; next++)
			model->totals[token] += counts[next];
		/* A word whose every successor is outside the vocabulary ends its sentence. */
		if (model->totals[token] <= 0) {
			counts[TOKEN_OWN_MARKS] = 1;
			model->totals[token] = 1;
		}
	}
}

/* ---- the file ---- */

static FILE *out;
static uint64_t written;

static void put(const void *data, size_t size)
{
	if (fwrite(data, 1, size, out) != size)
		die("cannot write: %s", strerror(errno));
	written += size;
}

/* Numbers are little-endian in GGUF. */
static void put_number(uint64_t value, size_t size)
{
	unsigned char bytes[8];

	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(value >> (8 * i));
	put(bytes, size);
}

static void put_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	put_number(bits, 4);
}

static void put_string(const char *text)
{
	put_number(strlen(text), 8);
	put(text, strlen(text));
}

static void put_padding(void)
{
	static const char zeros[32];

	put(zeros, (size_t)(-written & 31)); /* general.alignment's default: 32 */
}

/* IEEE 754 binary16 of a value that is normal in it or zero (the matrices hold 0, 1 and -30..0),
 * rounded to nearest; smaller magnitudes become zero. */
static uint16_t to_f16(double value)
{
	int exponent;
	double fraction = frexp(fabs(value), &exponent); /* fraction in [0.5, 1) */
	uint32_t sign = signbit(value) ? 0x8000u : 0;

	if (value == 0 || exponent < -13)
		return (uint16_t)sign;
	/* Rounding up to 2048 carries into the exponent, as it should. */
	return (uint16_t)(sign + ((uint32_t)(exponent + 14) << 10) +
			  (uint32_t)lrint(fraction * 2048) - 1024);
}

static unsigned key_count;

static void put_key(const char *key, uint32_t type)
{
	put_string(key);
	put_number(type, 4);
	key_count++;
}

static void put_key_string(const char *key, const char *value)
{
	put_key(key, GGUF_STRING);
	put_string(value);
}

static void put_key_u32(const char *key, size_t value)
{
	put_key(key, GGUF_U32);
	put_number(value, 4);
}

static void put_key_bool(const char *key, bool value)
{
	put_key(key, GGUF_BOOL);
	put_number(value, 1);
}

static void put_key_array(const char *key, uint32_t type, size_t count)
{
	put_key(key, GGUF_ARRAY);
	put_number(type, 4);
	put_number(count, 8);
}

#define TOKEN_TEXT_SIZE (WORD_MAX_BYTES + 4) /* a word, what stands for its blank, and the NUL */

static void token_text(const struct model *model, size_t token, char text[TOKEN_TEXT_SIZE])
{
	static const char *const fixed[] = { "<unk>", "<s>", "</s>" };
	const size_t size = TOKEN_TEXT_SIZE;

	if (token < TOKEN_OWN_MARKS)
		snprintf(text, size, "%s", fixed[token]);
	else if (token < TOKEN_READ_MARKS)
		snprintf(text, size, "<0x%02X>", (unsigned)marks[token - TOKEN_OWN_MARKS]);
	else if (token < TOKEN_COMMAS)
		snprintf(text, size, "%c", marks[token - TOKEN_READ_MARKS]);
	else if (token < TOKEN_WORDS)
		snprintf(text, size, "%c", commas[token - TOKEN_COMMAS]);
	else /* U+2581 stands for the blank in front of a word */
		snprintf(text, size, "\xe2\x96\x81%s", model->words[token - TOKEN_WORDS]->text);
}

static void put_tokenizer(const struct model *model)
{
	char text[TOKEN_TEXT_SIZE];

	put_key_string("tokenizer.ggml.model", "t5");
	put_key_array("tokenizer.ggml.tokens", GGUF_STRING, model->vocab);
	for (size_t i = 0; i < model->vocab; i++) {
		token_text(model, i, text);
		put_string(text);
	}
	/* Words only have to win over <unk>, which the tokenizer rates below them all. */
	put_key_array("tokenizer.ggml.scores", GGUF_F32, model->vocab);
	for (size_t i = 0; i < model->vocab; i++)
		put_float(i < TOKEN_READ_MARKS ? 0 : -1);
	put_key_array("tokenizer.ggml.token_type", GGUF_I32, model->vocab);
	for (size_t i = 0; i < model->vocab; i++)
		put_number(i == TOKEN_UNKNOWN	  ? TYPE_UNKNOWN
			   : i < TOKEN_OWN_MARKS  ? TYPE_CONTROL
			   : i < TOKEN_READ_MARKS ? TYPE_BYTE
						  : TYPE_NORMAL,
			   4);
	put_key_u32("tokenizer.ggml.bos_token_id", TOKEN_BEGIN);
	put_key_u32("tokenizer.ggml.eos_token_id", TOKEN_END);
	put_key_u32("tokenizer.ggml.unknown_token_id", TOKEN_UNKNOWN);
	put_key_bool("tokenizer.ggml.add_bos_token", true);
	put_key_bool("tokenizer.ggml.add_eos_token", false);
	put_key_bool("tokenizer.ggml.add_space_prefix", true);
	/* The answer goes on from the prompt's last word; roles would only stand in the way. */
	put_key_string("tokenizer.chat_template",
		       "{% for m in messages %}{{ m.content }}\n{% endfor %}");
}

static void put_keys(const struct model *model)
{
	put_key_string("general.architecture", "llama");
	put_key_string("general.name", "fortune chatter");
	put_key_u32("general.file_type", 1); /* mostly F16 */
	put_key_u32("llama.context_length", CONTEXT_TOKENS);
	put_key_u32("llama.embedding_length", model->vocab);
	put_key_u32("llama.block_count", 1);
	put_key_u32("llama.feed_forward_length", HEAD_SIZE);
	put_key_u32("llama.attention.head_count", 1);
	put_key_u32("llama.attention.head_count_kv", 1);
	put_key_u32("llama.attention.key_length", HEAD_SIZE);
	put_key_u32("llama.attention.value_length", HEAD_SIZE);
	put_key_u32("llama.rope.dimension_count", HEAD_SIZE);
	put_key("llama.attention.layer_norm_rms_epsilon", GGUF_F32);
	put_float(1e-9f);
	put_key_u32("llama.vocab_size", model->vocab);
	put_tokenizer(model);
}

static void put_zeros(const struct model *model, size_t columns, size_t rows)
{
	(void)model;
	for (size_t i = 0; i < columns * rows; i++)
		put_number(0, 2);
}

static void put_ones(const struct model *model, size_t columns, size_t rows)
{
	(void)model;
	for (size_t i = 0; i < columns * rows; i++)
		put_float(1);
}

static void put_undo_norm(const struct model *model, size_t columns, size_t rows)
{
	(void)model;
	for (size_t i = 0; i < columns * rows; i++)
		put_float((float)(1 / sqrt((double)columns)));
}

static void put_identity(const struct model *model, size_t columns, size_t rows)
{
	(void)model;
	for (size_t r = 0; r < rows; r++) {
		for (size_t c = 0; c < columns; c++)
			put_number(r == c ? to_f16(1) : 0, 2);
	}
}

/* The row is the next token, the column is this one. */
static void put_transitions(const struct model *model, size_t columns, size_t rows)
{
	for (size_t next = 0; next < rows; next++) {
		for (size_t this = 0; this < columns; this ++) {
			double count = row(model, this)[next];

			put_number(to_f16(count > 0 ? log(count / model->totals[this]) : NEVER), 2);
		}
	}
}

struct tensor {
	const char *name;
	uint64_t columns, rows; /* rows 1: a vector */
	uint32_t type;
	void (*put)(const struct model *model, size_t columns, size_t rows);
};

static void put_tensors(const struct model *model)
{
	const uint64_t n = model->vocab, h = HEAD_SIZE;
	/* clang-format off */
	const struct tensor tensors[] = {
		{ "token_embd.weight",        n, n, GGML_F16, put_identity },
		{ "blk.0.attn_norm.weight",   n, 1, GGML_F32, put_ones },
		{ "blk.0.attn_q.weight",      n, h, GGML_F16, put_zeros },
		{ "blk.0.attn_k.weight",      n, h, GGML_F16, put_zeros },
		{ "blk.0.attn_v.weight",      n, h, GGML_F16, put_zeros },
		{ "blk.0.attn_output.weight", h, n, GGML_F16, put_zeros },
		{ "blk.0.ffn_norm.weight",    n, 1, GGML_F32, put_ones },
		{ "blk.0.ffn_gate.weight",    n, h, GGML_F16, put_zeros },
		{ "blk.0.ffn_up.weight",      n, h, GGML_F16, put_zeros },
		{ "blk.0.ffn_down.weight",    h, n, GGML_F16, put_zeros },
		{ "output_norm.weight",       n, 1, GGML_F32, put_undo_norm },
		{ "output.weight",            n, n, GGML_F16, put_transitions },
	};
	/* clang-format on */
	const size_t count = PC_ARRAY_LEN(tensors);
	uint64_t offset = 0;

	put("GGUF", 4);
	put_number(3, 4);
	put_number(count, 8);
	long keys_at = (long)written;

	put_number(0, 8); /* the number of keys is known after them */
	put_keys(model);
	for (size_t i = 0; i < count; i++) {
		const struct tensor *t = &tensors[i];
		uint64_t bytes = t->columns * t->rows * (t->type == GGML_F16 ? 2 : 4);

		put_string(t->name);
		put_number(t->rows > 1 ? 2 : 1, 4);
		put_number(t->columns, 8);
		if (t->rows > 1)
			put_number(t->rows, 8);
		put_number(t->type, 4);
		put_number(offset, 8);
		offset += (bytes + 31) & ~UINT64_C(31);
	}
	put_padding();
	for (size_t i = 0; i < count; i++) {
		tensors[i].put(model, tensors[i].columns, tensors[i].rows);
		put_padding();
	}
	if (fseek(out, keys_at, SEEK_SET) != 0)
		die("cannot seek: %s", strerror(errno));
	put_number(key_count, 8);
}

/* Under another name beside the target, which then takes the target's in one step: a reader sees
 * the whole file or none, and a run that is broken off leaves the old one. */
static char unfinished[PATH_MAX];

static void remove_unfinished(void)
{
	if (unfinished[0])
		unlink(unfinished);
}

static void write_model(const struct model *model, const char *path)
{
	if (snprintf(unfinished, sizeof(unfinished), "%s.%ld.tmp", path, (long)getpid()) >=
	    (int)sizeof(unfinished)) {
		unfinished[0] = '\0';
		die("the path '%s' is too long", path);
	}
	out = fopen(unfinished, "wbxe");
	if (!out) {
		int reason = errno;

		die("cannot create '%s': %s", unfinished, strerror(reason));
	}
	atexit(remove_unfinished);
	put_tensors(model);
	if (fclose(out) != 0)
		die("cannot write '%s': %s", unfinished, strerror(errno));
	if (rename(unfinished, path) != 0)
		die("cannot rename '%s' to '%s': %s", unfinished, path, strerror(errno));
	unfinished[0] = '\0';
}

/* ---- the command line ---- */

static void usage(FILE *to)
{
	fprintf(to,
		"usage: %s [--vocab N] --output FILE DIR_OR_FILE...\n"
		"Writes a word-bigram language model of the given texts (in the form of fortune)\n"
		"as a GGUF file in llama architecture.\n"
		"  --vocab N      tokens in its vocabulary, %d to %d, a multiple of 32 (%d)\n"
		"  --output FILE  the file to write\n",
		progname, VOCAB_MIN, VOCAB_MAX, VOCAB_DEFAULT);
}

__attribute__((noreturn)) static void wrong_usage(const char *what, const char *which)
{
	fprintf(stderr, "%s: %s%s\n", progname, what, which);
	usage(stderr);
	exit(2);
}

static size_t parse_vocab(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || value < VOCAB_MIN || value > VOCAB_MAX ||
	    value % 32)
		wrong_usage("not a size of a vocabulary: ", text);
	return value;
}

int main(int argc, char **argv)
{
	struct model model = { .vocab = VOCAB_DEFAULT };
	struct corpus corpus = { .words = NULL };
	const char *output = NULL;
	int first;

	for (first = 1; first < argc && argv[first][0] == '-'; first++) {
		if (strcmp(argv[first], "--help") == 0) {
			usage(stdout);
			return 0;
		}
		if (first + 1 == argc)
			wrong_usage("a value is missing after ", argv[first]);
		if (strcmp(argv[first], "--vocab") == 0)
			model.vocab = parse_vocab(argv[++first]);
		else if (strcmp(argv[first], "--output") == 0)
			output = argv[++first];
		else
			wrong_usage("unknown option ", argv[first]);
	}
	if (!output || first == argc)
		wrong_usage(output ? "no texts are named" : "--output is missing", "");

	for (int i = first; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			read_folder(&corpus, argv[i]);
		else
			read_file(&corpus, argv[i]);
	}
	choose_words(&model, &corpus);
	count_pairs(&model, &corpus);
	complete_rows(&model);
	write_model(&model, output);

	pc_free(model.words);
	pc_free(model.successors);
	pc_free(model.totals);
	pc_free(corpus.words);
	pc_free(corpus.index);
	pc_free(corpus.stream);
	return 0;
}
