/* Where a script is that does not come out of a C function, where no hook of Lua's is called.
 *
 * A worker ends when its script has computed for too long: SIGPROF says so. Where somebody wants to
 * know, the handler looks for the author's line first.
 */

#define _DEFAULT_SOURCE
#include "native.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FRAMES = 1000, MOST_THREADS = 200, MOST_PLACE = 1024 };

static struct {
  State *state; /* NULL: nobody wants to know */
  int socket;
} watched;

/* Write "file:line" of the innermost frame of an author's file, if there is one. */
static void find_place(lua_State *L, char *place) {
  Activation frame;
  for (int level = 0; level < MOST_FRAMES && lua.getstack(L, level, &frame); level++) {
    lua.getinfo(L, "Sl", &frame);
    if (frame.source[0] == '@' && frame.currentline > 0) {
      snprintf(place, MOST_PLACE, "%s:%d", frame.source + 1, frame.currentline);
      return;
    }
  }
}

/* Return the coroutine that this one has resumed, or NULL. */
static lua_State *resumed(lua_State *L) {
  Activation frame;
  if (!lua.getstack(L, 0, &frame))
    return NULL;
  lua.getinfo(L, "S", &frame);
  if (frame.what[0] != 'C' || !lua.getlocal(L, &frame, 1))
    return NULL;
  return lua.tothread(L, -1);
}

/* SIGPROF: tell where the watched script is, in a reply of its worker, and end the process.
 *
 * The state is looked at in the middle of whatever it does; nothing runs in it any more. Should
 * that fail, the process ends without a reply, as it does when nobody watches.
 */
static void tell_place(int number) {
  (void)number;
  static char reply[MOST_PLACE + FAILED_HEAD], place[MOST_PLACE];
  if (!watched.state)
    _exit(1);
  lua_State *L = snapshot_lua(watched.state);
  for (int depth = 0; L && depth < MOST_THREADS; depth++) {
    find_place(L, place);
    L = resumed(L);
  }
  size_t length = strlen(place);
  if (length)
    send(watched.socket, reply, reply_failed(reply, "limit.wall_clock", "where", place, length), 0);
  _exit(1);
}

/* -- what Python and the other files call */

/* Handle SIGPROF here: it ends the process, as its default does. */
int place_handle_alarm(void) {
  struct sigaction action = {.sa_handler = tell_place};
  return sigaction(SIGPROF, &action, NULL);
}

/* Have SIGPROF tell first, in a reply to this socket, where a script is. */
void place_watch(State *state, int socket) {
  watched.state = state;
  watched.socket = socket;
}

/* Watch a state no more; before it is freed. */
void place_forget(const State *state) {
  if (watched.state == state)
    watched.state = NULL;
}
