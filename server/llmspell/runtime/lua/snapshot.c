/* Lua states that can be set back to what they were when a picture of them was taken.
 *
 * A script must run in a state in which no script has run, and to make one costs
 * more than most scripts do: hundreds of tables and functions, each a block of
 * memory. Here all blocks of a state lie in one arena. A copy of its first part
 * is the picture; to copy it back is to have the state as it was, byte for byte,
 * whatever a script has done since. Blocks that find no room in the arena come
 * from malloc, are listed, and are freed when the state is set back.
 *
 * A plain C library, called through ctypes, that needs neither Python's headers
 * nor Lua's: it uses the Lua inside lupa through that library's public functions
 * (Lua 5.4 Reference Manual, 4), and nothing of Lua's inner structures. A state
 * must be at rest when it is set back: no Lua function may be under way.
 *
 * It also finds the author's line in a script that does not come out of a C
 * function, where no hook of Lua's is called.
 *
 * What returns an int returns 0, or a Lua status: 4 is LUA_ERRMEM.
 */

#define _DEFAULT_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct lua_State lua_State;
typedef void *(*lua_Alloc)(void *ud, void *ptr, size_t osize, size_t nsize);

/* lua_Debug (lua.h). */
typedef struct {
  int event;
  const char *name, *namewhat, *what, *source;
  size_t srclen;
  int currentline;
  char rest[256]; /* more than Lua has there */
} Activation;

/* What is used of Lua. */
static struct {
  lua_State *(*newstate)(lua_Alloc, void *);
  double (*version)(lua_State *);
  void (*openlibs)(lua_State *);
  int (*loadbufferx)(lua_State *, const char *, size_t, const char *, const char *);
  int (*pcallk)(lua_State *, int, int, int, ptrdiff_t, void *);
  const char *(*pushlstring)(lua_State *, const char *, size_t);
  void (*pushnumber)(lua_State *, double);
  void (*pushvalue)(lua_State *, int);
  const char *(*tolstring)(lua_State *, int, size_t *);
  void (*settop)(lua_State *, int);
  int (*getstack)(lua_State *, int, Activation *);
  int (*getinfo)(lua_State *, const char *, Activation *);
  const char *(*getlocal)(lua_State *, const Activation *, int);
  lua_State *(*tothread)(lua_State *, int);
} lua;

/* -- memory */

enum {
  ARENA_BYTES = 2 << 20, /* a few times what a state with every part loaded needs */
  UNIT = 16,             /* alignment of a block, and the step between two sizes */
  SIZES = 64,            /* larger blocks than UNIT * SIZES are not used again in the arena */
};

typedef struct Free { /* an unused block of the arena */
  struct Free *next;
} Free;

typedef struct Beyond { /* before a block outside of the arena */
  struct Beyond *next, *previous;
} Beyond;

typedef struct {
  char *top;           /* of what was ever used of the arena */
  size_t used;         /* bytes Lua has asked for */
  Free *unused[SIZES]; /* by size */
} Memory;

typedef struct State {
  char *arena;
  char *picture; /* NULL: none was taken */
  size_t limit;  /* of `memory.used`; 0 = none */
  Memory memory, pictured;
  Beyond beyond; /* head of a ring */
  lua_State *L;
} State;

static int is_inside(const State *state, const void *block) {
  return (uintptr_t)block - (uintptr_t)state->arena < ARENA_BYTES;
}

static size_t units(size_t bytes) { return (bytes + UNIT - 1) / UNIT; }

static void *take(State *state, size_t bytes) {
  size_t count = units(bytes);
  if (count <= SIZES && state->memory.unused[count - 1]) {
    Free *block = state->memory.unused[count - 1];
    state->memory.unused[count - 1] = block->next;
    return block;
  }
  /* What is large and comes after the picture is outside, where realloc can let it grow. */
  if ((count <= SIZES || !state->picture) &&
      count * UNIT <= (size_t)(state->arena + ARENA_BYTES - state->memory.top)) {
    char *block = state->memory.top;
    state->memory.top += count * UNIT;
    return block;
  }
  Beyond *header = malloc(sizeof(Beyond) + bytes);
  if (!header)
    return NULL;
  header->next = state->beyond.next;
  header->previous = &state->beyond;
  header->next->previous = header;
  state->beyond.next = header;
  return header + 1;
}

static void give_back(State *state, void *block, size_t bytes) {
  if (!is_inside(state, block)) {
    Beyond *header = (Beyond *)block - 1;
    header->next->previous = header->previous;
    header->previous->next = header->next;
    free(header);
  } else if (units(bytes) <= SIZES) {
    Free *unused = block;
    unused->next = state->memory.unused[units(bytes) - 1];
    state->memory.unused[units(bytes) - 1] = unused;
  } /* else it is lost until the state is set back */
}

static void *resize(State *state, void *block, size_t old, size_t bytes) {
  if (is_inside(state, block)) {
    if (units(old) == units(bytes))
      return block;
    void *moved = take(state, bytes);
    if (moved) {
      memcpy(moved, block, old < bytes ? old : bytes);
      give_back(state, block, old);
    } else if (bytes < old) {
      return block; /* Lua relies on it: a block that becomes smaller never fails */
    }
    return moved;
  }
  Beyond *header = realloc((Beyond *)block - 1, sizeof(Beyond) + bytes);
  if (!header)
    return bytes < old ? block : NULL;
  header->next->previous = header; /* it may have moved */
  header->previous->next = header;
  return header + 1;
}

/* lua_Alloc (Reference Manual, 4.6). */
static void *allocate(void *owner, void *block, size_t old, size_t bytes) {
  State *state = owner;
  if (!block)
    old = 0; /* it tells the kind of object then */
  if (bytes > old && state->limit && state->memory.used + (bytes - old) > state->limit)
    return NULL;
  void *result = NULL;
  if (bytes == 0) {
    if (block)
      give_back(state, block, old);
  } else {
    result = block ? resize(state, block, old, bytes) : take(state, bytes);
    if (!result)
      return NULL;
  }
  state->memory.used += bytes - old;
  return result;
}

static void free_beyond(State *state) {
  while (state->beyond.next != &state->beyond) {
    Beyond *header = state->beyond.next;
    state->beyond.next = header->next;
    free(header);
  }
  state->beyond.previous = &state->beyond;
}

static void *map(void) {
  void *memory =
      mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

/* -- calls */

/* Where the kernel's functions are on the stack. */
enum { BEGIN = 1, PUT, PUMP, LAST_WORDS, COMPLETE };

static void push(State *state, const char *bytes, size_t size) {
  lua.pushlstring(state->L, bytes, size);
}

/* Call what lies below its arguments on the stack. */
static int call(State *state, int arguments, int results) {
  return lua.pcallk(state->L, arguments, results, 0, 0, NULL);
}

/* -- where a script is */

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
  static char reply[MOST_PLACE + 64], place[MOST_PLACE];
  if (!watched.state)
    _exit(1);
  lua_State *L = watched.state->L;
  for (int depth = 0; L && depth < MOST_THREADS; depth++) {
    find_place(L, place);
    L = resumed(L);
  }
  /* The frame [["failed", {code, where}]], see wire.py; before it, its length and no CPU time. */
  static const char head[] = "\x91\x92\xa6" "failed" "\x82\xa4" "code" "\xb0" "limit.wall_clock"
                             "\xa5" "where" "\xda";
  size_t length = strlen(place), size = sizeof head - 1 + 2 + length;
  unsigned char *end = (unsigned char *)reply;
  for (int i = 0; i < 12; i++)
    *end++ = i < 4 ? (unsigned char)(size >> 8 * i) : 0;
  memcpy(end, head, sizeof head - 1);
  end += sizeof head - 1;
  *end++ = (unsigned char)(length >> 8);
  *end++ = (unsigned char)length;
  memcpy(end, place, length);
  if (length)
    send(watched.socket, reply, 12 + size, 0);
  _exit(1);
}

/* -- what Python calls */

/* Find Lua in a library. Returns 0, or 1 when it does not offer what is needed. */
int snapshot_find(const char *library) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return 1;
  struct {
    void *target;
    const char *name;
  } functions[] = {
      {&lua.newstate, "lua_newstate"},       {&lua.version, "lua_version"},
      {&lua.openlibs, "luaL_openlibs"},      {&lua.loadbufferx, "luaL_loadbufferx"},
      {&lua.pcallk, "lua_pcallk"},           {&lua.pushlstring, "lua_pushlstring"},
      {&lua.pushnumber, "lua_pushnumber"},   {&lua.pushvalue, "lua_pushvalue"},
      {&lua.tolstring, "lua_tolstring"},     {&lua.settop, "lua_settop"},
      {&lua.getstack, "lua_getstack"},       {&lua.getinfo, "lua_getinfo"},
      {&lua.getlocal, "lua_getlocal"},       {&lua.tothread, "lua_tothread"},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *found = dlsym(handle, functions[i].name);
    if (!found)
      return 1;
    memcpy(functions[i].target, &found, sizeof found);
  }
  return lua.version(NULL) == 504 ? 0 : 1; /* `allocate` and the calls are those of Lua 5.4 */
}

/* Make a state with the standard libraries. Returns NULL when there is no memory. */
State *snapshot_new(void) {
  State *state = calloc(1, sizeof(State));
  if (!state)
    return NULL;
  state->beyond.next = state->beyond.previous = &state->beyond;
  state->memory.top = state->arena = map();
  state->L = state->arena ? lua.newstate(allocate, state) : NULL;
  if (!state->L) {
    free(state);
    return NULL;
  }
  lua.openlibs(state->L);
  return state;
}

/* End a state and free all it has. */
void snapshot_free(State *state) {
  if (watched.state == state)
    watched.state = NULL;
  free_beyond(state);
  munmap(state->arena, ARENA_BYTES);
  if (state->picture)
    munmap(state->picture, ARENA_BYTES);
  free(state);
}

/* Put a compiled chunk on the stack, to be run with what is pushed next. */
int snapshot_load(State *state, const char *chunk, size_t size) {
  return lua.loadbufferx(state->L, chunk, size, "=llmspell", "b");
}

void snapshot_push_number(State *state, double number) { lua.pushnumber(state->L, number); }

void snapshot_push_bytes(State *state, const char *bytes, size_t size) { push(state, bytes, size); }

/* Run the chunk with so many arguments; what it returns is called by the functions below. */
int snapshot_run(State *state, int arguments) { return call(state, arguments, COMPLETE); }

/* Take the picture, once, of the state with all of the kernel loaded. */
int snapshot_take(State *state) {
  int status = call(state, 0, 0); /* COMPLETE, which is on top */
  if (status)
    return status;
  size_t size = (size_t)(state->memory.top - state->arena);
  /* What lies outside of the arena would be missing. */
  if (state->picture || state->beyond.next != &state->beyond || !(state->picture = map()))
    return 4;
  memcpy(state->picture, state->arena, size);
  state->pictured = state->memory;
  mprotect(state->picture, ARENA_BYTES, PROT_READ); /* nothing a script breaks may last */
  return 0;
}

/* Set the state back to the picture, and free all that came after it. */
void snapshot_restore(State *state) {
  free_beyond(state);
  state->memory = state->pictured;
  memcpy(state->arena, state->picture, (size_t)(state->memory.top - state->arena));
  state->limit = 0;
}

/* Tell where a state lies that was set back, and how much of it there is. */
const char *snapshot_image(State *state, size_t *size) {
  *size = (size_t)(state->memory.top - state->arena);
  return state->arena;
}

/* Give the kernel a program and the limit of a frame in bytes. */
int snapshot_begin(State *state, const char *program, size_t size, double message_bytes) {
  lua.settop(state->L, LAST_WORDS);
  lua.pushvalue(state->L, BEGIN);
  push(state, program, size);
  lua.pushnumber(state->L, message_bytes);
  return call(state, 2, 0);
}

/* Give the kernel a frame and run it until everything waits.
 *
 * The frame goes in without a limit of memory: an allocation that fails outside of a
 * protected call would end the process. The reply, or the message of an error, lies in the
 * state until the next call.
 */
int snapshot_exchange(State *state, const char *frame, size_t size, size_t heap_bytes,
                      const char **reply, size_t *reply_size) {
  lua.settop(state->L, LAST_WORDS);
  lua.pushvalue(state->L, PUT);
  push(state, frame, size);
  int status = call(state, 1, 0);
  if (status == 0) {
    lua.pushvalue(state->L, PUMP);
    state->limit = heap_bytes;
    status = call(state, 0, 1);
    state->limit = 0;
    if (status == 4) {
      lua.settop(state->L, LAST_WORDS);
      lua.pushvalue(state->L, LAST_WORDS);
      status = call(state, 0, 1);
    }
  }
  *reply = lua.tolstring(state->L, -1, reply_size);
  return *reply ? status : 1;
}

/* Handle SIGPROF here: it ends the process, as its default does. */
int snapshot_handle_alarm(void) {
  struct sigaction action = {.sa_handler = tell_place};
  return sigaction(SIGPROF, &action, NULL);
}

/* Have SIGPROF tell first, in a reply to this socket, where a script is. */
void snapshot_watch(State *state, int socket) {
  watched.state = state;
  watched.socket = socket;
}
