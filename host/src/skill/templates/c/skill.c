// The tools of this skill: one function for each export of `wit/world.wit`. `gen/` is made of it by `./build --bind`.
#include "gen/skill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool exports_skill_greet(skill_string_t *name, uint8_t *times, skill_string_t *ret, skill_string_t *err) {
  const uint8_t *start = name->ptr, *end = name->ptr + name->len;
  while (start < end && is_space(*start)) start++;
  while (end > start && is_space(end[-1])) end--;
  if (start == end) {
    // A `false` fails the step with this value.
    skill_string_dup(err, "nobody to greet");
    skill_string_free(name);
    return false;
  }
  size_t count = times ? *times : 1, length = (size_t)(end - start);
  size_t one = strlen("Good day, ") + length + strlen(".") + 1;
  char *text = malloc(count * one + 1), *at = text;
  if (!text) abort();
  for (size_t i = 0; i < count; i++)
    at += sprintf(at, "%sGood day, %.*s.", i ? " " : "", (int)length, (const char *)start);
  ret->ptr = (uint8_t *)text;
  ret->len = (size_t)(at - text);
  skill_string_free(name);
  return true;
}
