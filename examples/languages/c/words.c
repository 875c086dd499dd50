/* The example skill `words` in C. bindings/ is written by wit-bindgen from wit/words.wit (`../build --bind`). What a function is given
 * and what it gives back is freed by the bindings; a `bool` result says whether it is the answer or the failure. */
#include <stdlib.h>
#include <string.h>

#include "bindings/skill.h"

typedef exports_example_words_words_count_t word_count;
typedef exports_example_words_words_failure_t failure;

static bool is_part(uint8_t byte) {
  return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

/* The next word from `*at`, in lower case in place; false where there is none. Every byte of a character beyond ASCII is >= 0x80. */
static bool next_word(skill_string_t text, size_t *at, skill_string_t *word) {
  while (*at < text.len && !is_part(text.ptr[*at])) ++*at;
  word->ptr = text.ptr + *at;
  for (word->len = 0; *at < text.len && is_part(text.ptr[*at]); ++*at, ++word->len) {
    uint8_t *byte = &text.ptr[*at];
    if (*byte >= 'A' && *byte <= 'Z') *byte += 'a' - 'A';
  }
  return word->len > 0;
}

static uint32_t characters(skill_string_t text) {
  uint32_t count = 0;
  for (size_t at = 0; at < text.len; ++at) count += (text.ptr[at] & 0xc0) != 0x80;
  return count;
}

/* The bytes of UTF-8 have the order of the code points. */
static int by_code_points(const void *one, const void *two) {
  const skill_string_t *a = one, *b = two;
  size_t shorter = a->len < b->len ? a->len : b->len;
  int order = shorter ? memcmp(a->ptr, b->ptr, shorter) : 0;
  return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int by_times(const void *one, const void *two) {
  const word_count *a = one, *b = two;
  if (a->times != b->times) return a->times < b->times ? 1 : -1;
  return by_code_points(&a->word, &b->word);
}

static skill_string_t copy(skill_string_t text) {
  skill_string_t own;
  skill_string_dup_n(&own, (const char *)text.ptr, text.len);
  return own;
}

bool exports_example_words_words_count_words(skill_string_t *text, uint32_t *maybe_top,
                                             exports_example_words_words_summary_t *ret, failure *err) {
  uint32_t lines = 0, total = 0;
  size_t at = 0, different = 0;
  skill_string_t word;
  for (size_t i = 0; i < text->len; ++i) lines += text->ptr[i] == '\n';
  if (text->len > 0 && text->ptr[text->len - 1] != '\n') ++lines;
  while (next_word(*text, &at, &word)) ++total;
  if (total == 0) {
    err->tag = EXPORTS_EXAMPLE_WORDS_WORDS_FAILURE_EMPTY;
    skill_string_free(text);
    return false;
  }
  skill_string_t *words = malloc(total * sizeof *words);
  word_count *counts = malloc(total * sizeof *counts);
  if (!words || !counts) abort();
  at = 0;
  for (uint32_t i = 0; i < total; ++i) next_word(*text, &at, &words[i]);
  qsort(words, total, sizeof *words, by_code_points);
  for (uint32_t i = 0; i < total; ++i) {
    if (different > 0 && by_code_points(&counts[different - 1].word, &words[i]) == 0) {
      ++counts[different - 1].times;
    } else {
      counts[different++] = (word_count){.word = words[i], .times = 1};
    }
  }
  qsort(counts, different, sizeof *counts, by_times);
  uint32_t top = maybe_top ? *maybe_top : 3;
  size_t listed = top < different ? top : different;
  ret->words = total;
  ret->lines = lines;
  ret->favourite.is_some = different == 1 || counts[0].times > counts[1].times;
  if (ret->favourite.is_some) ret->favourite.val = copy(counts[0].word);
  ret->top.len = listed;
  ret->top.ptr = listed ? malloc(listed * sizeof *counts) : NULL;
  if (listed && !ret->top.ptr) abort();
  for (size_t i = 0; i < listed; ++i) ret->top.ptr[i] = (word_count){.word = copy(counts[i].word), .times = counts[i].times};
  free(words);
  free(counts);
  skill_string_free(text);
  return true;
}

bool exports_example_words_words_slug(skill_string_t *title, uint32_t *maybe_max_length, skill_string_t *ret, failure *err) {
  uint32_t max_length = maybe_max_length ? *maybe_max_length : 40, length = 0;
  size_t at = 0;
  skill_string_t word;
  /* Never longer than the title: between two words is at least one byte. */
  ret->ptr = malloc(title->len + 1);
  ret->len = 0;
  if (!ret->ptr) abort();
  err->tag = EXPORTS_EXAMPLE_WORDS_WORDS_FAILURE_EMPTY;
  while (next_word(*title, &at, &word)) {
    uint32_t more = characters(word);
    if (ret->len == 0 && more > max_length) {
      err->tag = EXPORTS_EXAMPLE_WORDS_WORDS_FAILURE_TOO_LONG;
      err->val.too_long = more;
      break;
    }
    if (ret->len > 0) {
      if (length + 1 + more > max_length) break;
      ret->ptr[ret->len++] = '-';
      ++length;
    }
    memcpy(ret->ptr + ret->len, word.ptr, word.len);
    ret->len += word.len;
    length += more;
  }
  bool is_found = ret->len > 0;
  if (!is_found) skill_string_free(ret);
  skill_string_free(title);
  return is_found;
}
