/* What a worker does from its jail on: packets in, replies out; see wire.py for both.
 *
 * It serves the scripts whose state is set back, which are nearly all, and needs nothing of Python
 * for that. What it does not serve it leaves to Python: see `worker_serve`.
 */

#define _DEFAULT_SOURCE
#include "native.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum {
  PROGRAM, /* kinds of packets */
  BEGIN,
  FRAME,
  END,
  PACKET_HEAD = 5, /* kind, length */
  LIMITS = 32,     /* what BEGIN holds */
  CHUNK = 64 << 10,
  AHEAD_AFTER = 2, /* scripts of a program, until its file is loaded ahead */
  AHEAD_MOST_US = 5000, /* CPU time its first frame may take then */
};

static struct {
  State *state;
  int socket;
  struct { /* what has come; `start` is the first byte not looked at */
    char *bytes;
    size_t start, end, room;
  } inlet;
  struct {
    char *bytes;
    size_t size;
    int scripts; /* that were begun */
    int is_light;
  } program;
  int is_used;  /* the state holds what a script did */
  int is_begun; /* its first frame has not come */
  size_t heap_bytes;
  double message_bytes, seconds;
} worker;

/* -- numbers on the wire are little-endian */

static uint64_t number(const char *bytes, int size) {
  uint64_t value = 0;
  for (int i = size - 1; i >= 0; i--)
    value = value << 8 | (unsigned char)bytes[i];
  return value;
}

static double real(const char *bytes) {
  uint64_t bits = number(bytes, 8);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t cpu_us(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* -- replies */

/* Send all of it. Returns whether the other side is there. */
static int deliver(const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t sent = send(worker.socket, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      return 0;
    bytes += sent;
    size -= (size_t)sent;
  }
  return 1;
}

static int deliver_reply(const char *reply, size_t size) {
  static char small[CHUNK];
  reply_head(small, size, cpu_us());
  if (size <= sizeof small - REPLY_HEAD) {
    memcpy(small + REPLY_HEAD, reply, size);
    return deliver(small, REPLY_HEAD + size);
  }
  return deliver(small, REPLY_HEAD) && deliver(reply, size);
}

/* Tell that the kernel, and not the script, raised an error. */
static int deliver_failure(const char *message, size_t size) {
  static const char what[] = "the kernel failed: ";
  char text[1000], reply[sizeof text + FAILED_HEAD];
  size_t length = sizeof what - 1;
  memcpy(text, what, length);
  for (size_t i = 0; i < size && length < sizeof text; i++) /* any bytes; a reply is UTF-8 */
    text[length++] = message[i] & 0x80 ? '?' : message[i];
  size_t whole = reply_failed(reply, "internal", "message", text, length);
  reply_head(reply, whole - REPLY_HEAD, cpu_us());
  return deliver(reply, whole);
}

/* -- packets */

/* Wait until so many bytes have come. Returns whether they have: else there is no other side. */
static int await(size_t wanted) {
  while (worker.inlet.end - worker.inlet.start < wanted) {
    size_t held = worker.inlet.end - worker.inlet.start, room = wanted > CHUNK ? wanted : CHUNK;
    if (worker.inlet.start > 0)
      memmove(worker.inlet.bytes, worker.inlet.bytes + worker.inlet.start, held);
    worker.inlet.start = 0, worker.inlet.end = held;
    if (worker.inlet.room < room) {
      char *bytes = realloc(worker.inlet.bytes, room);
      if (!bytes)
        return 0;
      worker.inlet.bytes = bytes, worker.inlet.room = room;
    }
    ssize_t count = recv(worker.socket, worker.inlet.bytes + held, worker.inlet.room - held, 0);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return 0;
    worker.inlet.end += (size_t)count;
  }
  return 1;
}

/* Give the room of large packets back. */
static void empty_inlet(void) {
  if (worker.inlet.start < worker.inlet.end || worker.inlet.room <= 16 * CHUNK)
    return;
  free(worker.inlet.bytes);
  memset(&worker.inlet, 0, sizeof worker.inlet);
}

static int keep_program(const char *bytes, size_t size) {
  char *copy = malloc(size ? size : 1);
  if (!copy)
    return 0;
  memcpy(copy, bytes, size);
  free(worker.program.bytes);
  worker.program.bytes = copy, worker.program.size = size;
  worker.program.scripts = worker.program.is_light = 0;
  return 1;
}

/* -- scripts */

static void begin_state(void) {
  snapshot_begin(worker.state, worker.program.bytes, worker.program.size, worker.message_bytes);
}

/* Have the state as no script has seen it, once it is used.
 *
 * A program that comes again has its file loaded ahead. Not at once, since many scripts come but
 * once; and only a file that is loaded in no time, since nobody has an eye on that.
 */
static void renew(void) {
  if (!worker.is_used)
    return;
  worker.is_used = 0;
  snapshot_restore(worker.state);
  if (worker.program.scripts == AHEAD_AFTER && worker.program.is_light) {
    begin_state();
    if (!snapshot_load_ahead(worker.state, worker.heap_bytes))
      snapshot_restore(worker.state);
  }
}

/* Have the state as no script and no program has seen it. */
static void start_over(void) {
  worker.is_used = 0;
  snapshot_forget(worker.state);
  snapshot_restore(worker.state);
}

/* Begin a script with these limits. Returns whether it is one that is served here. */
static int begin(const char *limits) {
  if (real(limits + 24) != 0.0) /* a hook: another kind of state */
    return 0;
  renew();
  worker.heap_bytes = (size_t)number(limits, 8);
  worker.message_bytes = (double)number(limits + 8, 8);
  worker.seconds = real(limits + 16);
  worker.is_used = worker.is_begun = 1;
  worker.program.scripts++;
  begin_state();
  return 1;
}

/* Let the signal that ends this process come after so much more CPU time.
 *
 * It need not be set back: what waits for a packet takes none.
 */
static void set_alarm(void) {
  struct itimerval timer = {.it_value.tv_sec = (time_t)worker.seconds};
  timer.it_value.tv_usec = (suseconds_t)((worker.seconds - (double)timer.it_value.tv_sec) * 1e6);
  setitimer(ITIMER_PROF, &timer, NULL);
}

/* Give a frame to the script, and reply. Returns whether the other side is there. */
static int serve_frame(const char *frame, size_t size) {
  const char *reply;
  size_t reply_size;
  set_alarm();
  uint64_t before = worker.is_begun ? cpu_us() : 0;
  int status =
      snapshot_exchange(worker.state, frame, size, worker.heap_bytes, &reply, &reply_size);
  if (status == NOT_AHEAD) {
    snapshot_forget(worker.state);
    snapshot_restore(worker.state);
    begin_state();
    status = snapshot_exchange(worker.state, frame, size, worker.heap_bytes, &reply, &reply_size);
  }
  if (worker.is_begun)
    worker.program.is_light = cpu_us() - before <= AHEAD_MOST_US;
  worker.is_begun = 0;
  if (status)
    return deliver_failure(reply ? reply : "", reply ? reply_size : 0);
  return deliver_reply(reply, reply_size);
}

/* -- what Python calls */

/* Serve scripts in a state that can be set back.
 *
 * `received` is what has come from the socket already. Returns 0 when the other side is gone, and 1
 * when a script needs another kind of state. That is left to the caller, and all that comes after
 * it: `worker_program` and `worker_received` tell what he needs for it.
 */
int worker_serve(State *state, int socket, const char *received, size_t size) {
  worker.state = state, worker.socket = socket;
  worker.inlet.bytes = malloc(size > CHUNK ? size : CHUNK);
  if (!worker.inlet.bytes)
    return 0;
  worker.inlet.room = size > CHUNK ? size : CHUNK;
  memcpy(worker.inlet.bytes, received, size);
  worker.inlet.end = size;
  while (await(PACKET_HEAD)) {
    size_t length = (size_t)number(worker.inlet.bytes + worker.inlet.start + 1, 4);
    if (!await(PACKET_HEAD + length))
      return 0;
    const char *packet = worker.inlet.bytes + worker.inlet.start, *payload = packet + PACKET_HEAD;
    if (packet[0] == BEGIN && !(length == LIMITS && begin(payload))) {
      start_over();
      return 1;
    }
    worker.inlet.start += PACKET_HEAD + length;
    if (packet[0] == FRAME && !serve_frame(payload, length))
      return 0;
    if (packet[0] == PROGRAM) {
      start_over();
      if (!keep_program(payload, length))
        return 0;
    }
    if (packet[0] == END)
      renew();
    empty_inlet();
  }
  return 0;
}

/* Return the program of the scripts to come. */
const char *worker_program(size_t *size) {
  *size = worker.program.size;
  return worker.program.bytes;
}

/* Return what has come from the socket and is not served: first the packet that begins a script. */
const char *worker_received(size_t *size) {
  *size = worker.inlet.end - worker.inlet.start;
  return worker.inlet.bytes + worker.inlet.start;
}
