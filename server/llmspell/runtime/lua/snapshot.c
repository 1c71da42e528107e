/* Lua states that can be set back to what they were when a picture of them was taken.
 *
 * A script must run in a state in which no script has run, and to make one costs
 * more than most scripts do: hundreds of tables and functions, each a block of
 * memory. Here all blocks of a state lie in one arena. A copy of its first part
 * is the picture; to copy it back is to have the state as it was, byte for byte,
 * whatever a script has done since. Blocks that find no room in the arena come
 * from malloc, are listed, and are freed when the state is set back.
 *
 * There may be a second picture, of the state ahead: with the file of one program
 * loaded, which nothing but its text decides. The scripts of that program begin there.
 *
 * A plain C library, called through ctypes, that needs neither Python's headers
 * nor Lua's: it uses the Lua inside lupa through that library's public functions,
 * and nothing of Lua's inner structures. A state must be at rest when it is set
 * back: no Lua function may be under way.
 *
 * What returns an int returns 0, or a Lua status: 4 is LUA_ERRMEM.
 */

#define _DEFAULT_SOURCE
#include "native.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

Lua lua;

/* -- memory */

enum {
  ARENA_BYTES = 2 << 20,   /* a few times what a state with every part loaded needs */
  MOST_AHEAD = 256 << 10,  /* bytes more than that a program's file may need: all are copied back */
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

typedef struct {
  char *bytes; /* of the arena; NULL: none was taken */
  Memory memory;
} Picture;

struct State {
  char *arena;
  size_t limit; /* of `memory.used`; 0 = none */
  Memory memory;
  int is_filling; /* whether a picture is going to be taken */
  Picture fresh, ahead;
  const Picture *current; /* what the state is set back to */
  Beyond beyond;          /* head of a ring */
  lua_State *L;
};

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
  /* What is large and in no picture is outside, where realloc can let it grow. */
  if ((count <= SIZES || state->is_filling) &&
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
enum { BEGIN = 1, PUT, PUMP, LAST_WORDS, LOAD, COMPLETE };

static void push(State *state, const char *bytes, size_t size) {
  lua.pushlstring(state->L, bytes, size);
}

/* Call what lies below its arguments on the stack. */
static int call(State *state, int arguments, int results) {
  return lua.pcallk(state->L, arguments, results, 0, 0, NULL);
}

/* -- pictures */

static size_t in_use(const State *state) { return (size_t)(state->memory.top - state->arena); }

/* Take a picture of the state as it is. Returns 0, or LUA_ERRMEM. */
static int take_picture(State *state, Picture *picture) {
  /* What lies outside of the arena would be missing. */
  if (state->beyond.next != &state->beyond)
    return OUT_OF_MEMORY;
  if (!picture->bytes && !(picture->bytes = map()))
    return OUT_OF_MEMORY;
  mprotect(picture->bytes, ARENA_BYTES, PROT_READ | PROT_WRITE);
  memcpy(picture->bytes, state->arena, in_use(state));
  mprotect(picture->bytes, ARENA_BYTES, PROT_READ); /* nothing a script breaks may last */
  picture->memory = state->memory;
  state->current = picture;
  return 0;
}

/* -- what Python and the worker call */

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
      {&lua.tolstring, "lua_tolstring"},     {&lua.toboolean, "lua_toboolean"},
      {&lua.settop, "lua_settop"},           {&lua.getstack, "lua_getstack"},
      {&lua.getinfo, "lua_getinfo"},         {&lua.getlocal, "lua_getlocal"},
      {&lua.tothread, "lua_tothread"},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *found = dlsym(handle, functions[i].name);
    if (!found)
      return 1;
    memcpy(functions[i].target, &found, sizeof found);
  }
  return lua.version(NULL) == 504 ? 0 : 1; /* `allocate` and the calls are those of Lua 5.4 */
}

/* End a state that is not watched, and free all it has. */
void snapshot_free(State *state) {
  free_beyond(state);
  char *mapped[] = {state->arena, state->fresh.bytes, state->ahead.bytes};
  for (size_t i = 0; i < sizeof mapped / sizeof *mapped; i++)
    if (mapped[i])
      munmap(mapped[i], ARENA_BYTES);
  free(state);
}

/* Make a state with the standard libraries. Returns NULL when there is no memory. */
State *snapshot_new(void) {
  State *state = calloc(1, sizeof(State));
  if (!state)
    return NULL;
  state->beyond.next = state->beyond.previous = &state->beyond;
  state->is_filling = 1;
  state->memory.top = state->arena = map();
  state->L = state->arena ? lua.newstate(allocate, state) : NULL;
  if (!state->L) {
    snapshot_free(state);
    return NULL;
  }
  lua.openlibs(state->L);
  return state;
}

lua_State *snapshot_lua(const State *state) { return state->L; }

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
  state->is_filling = 0;
  return take_picture(state, &state->fresh);
}

/* Set the state back to the picture taken last, and free all that came after it. */
void snapshot_restore(State *state) {
  free_beyond(state);
  state->memory = state->current->memory;
  memcpy(state->arena, state->current->bytes, in_use(state));
  state->limit = 0;
}

/* Tell where a state lies that was set back, and how much of it there is. */
const char *snapshot_image(State *state, size_t *size) {
  *size = in_use(state);
  return state->arena;
}

/* Give the kernel a program and the limit of a frame in bytes. */
int snapshot_begin(State *state, const char *program, size_t size, double message_bytes) {
  lua.settop(state->L, LOAD);
  lua.pushvalue(state->L, BEGIN);
  push(state, program, size);
  lua.pushnumber(state->L, message_bytes);
  return call(state, 2, 0);
}

/* Load the file of the program the state was given, and take a picture of that.
 *
 * Returns whether there is one: then the state may serve a script of this program, and is set back
 * to where the file is loaded. Otherwise it must be set back before it is used.
 */
int snapshot_load_ahead(State *state, size_t heap_bytes) {
  lua.settop(state->L, LOAD);
  lua.pushvalue(state->L, LOAD);
  state->limit = heap_bytes;
  state->is_filling = 1;
  int status = call(state, 0, 1);
  state->limit = 0;
  state->is_filling = 0;
  int is_loaded = status == 0 && lua.toboolean(state->L, -1);
  lua.settop(state->L, LOAD);
  size_t most = (size_t)(state->fresh.memory.top - state->arena) + MOST_AHEAD;
  return is_loaded && in_use(state) <= most && take_picture(state, &state->ahead) == 0;
}

/* Have the state set back to where no file is loaded. */
void snapshot_forget(State *state) { state->current = &state->fresh; }

/* Give the kernel a frame and run it until everything waits.
 *
 * The frame goes in without a limit of memory: an allocation that fails outside of a
 * protected call would end the process. The reply, or the message of an error, lies in the
 * state until the next call. Returns NOT_AHEAD, and has done nothing, when the frame does not
 * begin a script of the file that is loaded.
 */
int snapshot_exchange(State *state, const char *frame, size_t size, size_t heap_bytes,
                      const char **reply, size_t *reply_size) {
  lua.settop(state->L, LOAD);
  lua.pushvalue(state->L, PUT);
  push(state, frame, size);
  int status = call(state, 1, 0);
  if (status == 0) {
    lua.pushvalue(state->L, PUMP);
    state->limit = heap_bytes;
    status = call(state, 0, 1);
    state->limit = 0;
    if (status == OUT_OF_MEMORY) {
      lua.settop(state->L, LOAD);
      lua.pushvalue(state->L, LAST_WORDS);
      status = call(state, 0, 1);
    }
  }
  *reply = lua.tolstring(state->L, -1, reply_size);
  if (status == 0 && !*reply)
    return NOT_AHEAD;
  return status;
}
