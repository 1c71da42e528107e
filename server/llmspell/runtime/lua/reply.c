/* Replies of a worker, as bytes; see wire.py. Nothing here calls what a handler of signals may not. */

#include "native.h"

#include <stdint.h>
#include <string.h>

/* Write what stands before each reply: its length, and the CPU time used so far. */
void reply_head(char *reply, size_t size, uint64_t cpu_us) {
  for (int i = 0; i < 4; i++)
    reply[i] = (char)(size >> 8 * i);
  for (int i = 0; i < 8; i++)
    reply[4 + i] = (char)(cpu_us >> 8 * i);
}

static char *put_text(char *end, const char *text, size_t length) {
  *end++ = (char)0xda; /* a text with its length in two bytes */
  *end++ = (char)(length >> 8);
  *end++ = (char)length;
  memcpy(end, text, length);
  return end + length;
}

/* Write the reply [["failed", {code, NAME: text}]] and return its size. No CPU time is told. */
size_t reply_failed(char *reply, const char *code, const char *name, const char *text,
                    size_t length) {
  static const char head[] = "\x91\x92\xa6" "failed" "\x82\xa4" "code";
  char *end = reply + REPLY_HEAD;
  memcpy(end, head, sizeof head - 1);
  end = put_text(end + sizeof head - 1, code, strlen(code));
  end = put_text(end, name, strlen(name));
  end = put_text(end, text, length);
  size_t size = (size_t)(end - reply);
  reply_head(reply, size - REPLY_HEAD, 0);
  return size;
}
