/* What the C files of the library share; see snapshot.c for what it is for. */

#pragma once

#include <stddef.h>
#include <stdint.h>

/* -- Lua, found in lupa's library (Lua 5.4 Reference Manual, 4) */

typedef struct lua_State lua_State;
typedef void *(*lua_Alloc)(void *ud, void *ptr, size_t osize, size_t nsize);

enum { OUT_OF_MEMORY = 4 }; /* LUA_ERRMEM */

/* lua_Debug (lua.h). */
typedef struct {
  int event;
  const char *name, *namewhat, *what, *source;
  size_t srclen;
  int currentline;
  char rest[256]; /* more than Lua has there */
} Activation;

/* What is used of Lua. */
typedef struct {
  lua_State *(*newstate)(lua_Alloc, void *);
  double (*version)(lua_State *);
  void (*openlibs)(lua_State *);
  int (*loadbufferx)(lua_State *, const char *, size_t, const char *, const char *);
  int (*pcallk)(lua_State *, int, int, int, ptrdiff_t, void *);
  const char *(*pushlstring)(lua_State *, const char *, size_t);
  void (*pushnumber)(lua_State *, double);
  void (*pushvalue)(lua_State *, int);
  const char *(*tolstring)(lua_State *, int, size_t *);
  int (*toboolean)(lua_State *, int);
  void (*settop)(lua_State *, int);
  int (*getstack)(lua_State *, int, Activation *);
  int (*getinfo)(lua_State *, const char *, Activation *);
  const char *(*getlocal)(lua_State *, const Activation *, int);
  lua_State *(*tothread)(lua_State *, int);
} Lua;

extern Lua lua;

/* -- states (snapshot.c) */

typedef struct State State;

enum { NOT_AHEAD = -1 };

lua_State *snapshot_lua(const State *state);
int snapshot_begin(State *state, const char *program, size_t size, double message_bytes);
int snapshot_exchange(State *state, const char *frame, size_t size, size_t heap_bytes,
                      const char **reply, size_t *reply_size);
int snapshot_load_ahead(State *state, size_t heap_bytes);
void snapshot_forget(State *state);
void snapshot_restore(State *state);

/* -- replies (reply.c) */

enum {
  REPLY_HEAD = 12,  /* length, CPU time in microseconds */
  FAILED_HEAD = 96, /* bytes of a failed reply before its text, at most */
};

void reply_head(char *reply, size_t size, uint64_t cpu_us);
size_t reply_failed(char *reply, const char *code, const char *name, const char *text,
                    size_t length);
