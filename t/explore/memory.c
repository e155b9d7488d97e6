/*
 * The supervisor's memory: its heap, the static variables of this program, and its stack, which is
 * not ours. To go back is to copy them back; a state is known by what can be reached from struct
 * supervisor.
 */
#include "explore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <ucontext.h>
#include <unistd.h>

#include "lib/array.h"

#define HEAP_SIZE  (4u << 20)
#define STACK_SIZE (512u << 10)
#define CLASSES                                                                                    \
	64 /* of block sizes, in steps of 16 bytes; larger ones have a list of their own           \
	    */
#define BLOCK_USED 0x5ed5eed1u
#define BLOCK_FREE 0xf4eef4eeu
#define BELOW	   1024 /* bytes of stack below the last frame */
#define SEEN_MAX   (1u << 14)
#define LONG_AGO   600000 /* ms, after which no time matters any more */

/* A block of the heap begins with its header. */
struct block {
	uint32_t mark, size; /* size: without the header, a multiple of 16 */
	struct block *next;  /* of the same class, if free */
};

/* All of the explorer's own, which going back must not touch. */
struct memory {
	ucontext_t here;
	enum pause why;
	int status;
	void (*run)(void);
	struct {
		const void *at;
		uint32_t number, turn;
	} seen[SEEN_MAX];
	uint32_t turn, count;
	struct block *order[SEEN_MAX / 2];
};

/* The lower end of the supervisor's memory; what follows it is the heap. */
struct top {
	ucontext_t supervisor;
	char *stack_low;
	char *end; /* of the heap, as far as it was used */
	struct block *lists[CLASSES + 1];
};

static char *region;
static struct memory *memory;
int *memory_status;
extern char __data_start[], _end[];

static struct top *top(void)
{
	return (struct top *)(region + STACK_SIZE);
}

void *memory_map(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		abort();
	return at;
}

static void need_region(void)
{
	if (region)
		return;
	region = memory_map(STACK_SIZE + HEAP_SIZE);
	top()->stack_low = region + STACK_SIZE;
	top()->end = region + STACK_SIZE + ((sizeof(struct top) + 63) & ~(size_t)63);
}

/* ---- the heap: in place of the C library's, which calls these too ---- */

static size_t class_of(size_t size)
{
	return MIN(size / 16, (size_t)CLASSES);
}

static struct block *block_of(void *p)
{
	return (struct block *)p - 1;
}

static struct block *take_free(size_t size)
{
	struct block **last = &top()->lists[class_of(size)];

	for (; *last; last = &(*last)->next) {
		struct block *b = *last;

		if (b->size >= size) {
			*last = b->next;
			return b;
		}
	}
	return NULL;
}

static void *take(size_t size)
{
	struct block *b;

	need_region();
	size = (MAX(size, 1u) + 15) & ~(size_t)15;
	b = take_free(size);
	if (!b) {
		b = (struct block *)top()->end;
		if ((size_t)(top()->end - region) + size + sizeof(*b) > STACK_SIZE + HEAP_SIZE)
			abort();
		b->size = (uint32_t)size;
		top()->end += sizeof(*b) + size;
	}
	b->mark = BLOCK_USED;
	b->next = NULL;
	return memset(b + 1, 0, b->size); /* what was there before is no part of a state */
}

void *malloc(size_t size)
{
	return take(size);
}

void free(void *p)
{
	struct block *b;

	if (!p)
		return;
	b = block_of(p);
	if (b->mark != BLOCK_USED)
		abort();
	b->mark = BLOCK_FREE;
	b->next = top()->lists[class_of(b->size)];
	top()->lists[class_of(b->size)] = b;
}

void *calloc(size_t count, size_t size)
{
	void *p = take(count * size);

	return memset(p, 0, block_of(p)->size);
}

void *realloc(void *old, size_t size)
{
	void *p;

	if (old && block_of(old)->size >= size)
		return old;
	p = take(size);
	if (old) {
		memcpy(p, old, block_of(old)->size);
		free(old);
	}
	return p;
}

void *reallocarray(void *old, size_t count, size_t size)
{
	return realloc(old, count * size);
}

/* ---- running ---- */

void memory_open(void)
{
	need_region();
	memory = memory_map(sizeof(*memory));
	memory_status = &memory->status;
}

static void entry(void)
{
	memory->run();
	abort(); /* it exits */
}

void memory_run_first(void (*run)(void))
{
	memory->run = run;
	getcontext(&top()->supervisor);
	top()->supervisor.uc_stack.ss_sp = region;
	top()->supervisor.uc_stack.ss_size = STACK_SIZE;
	top()->supervisor.uc_link = NULL;
	makecontext(&top()->supervisor, entry, 0);
}

enum pause memory_resume(void)
{
	swapcontext(&memory->here, &top()->supervisor);
	return memory->why;
}

void memory_pause(enum pause why)
{
	memory->why = why;
	top()->stack_low = MAX(region, (char *)__builtin_frame_address(0) - BELOW);
	swapcontext(&top()->supervisor, &memory->here);
}

/* ---- going back ---- */

struct saved {
	size_t stack, heap;
	char *data;
};

struct saved *memory_new(void)
{
	struct saved *s =
		memory_map(sizeof(*s) + (size_t)(_end - __data_start) + STACK_SIZE + HEAP_SIZE);

	s->data = (char *)(s + 1);
	return s;
}

void memory_save(struct saved *s)
{
	size_t fixed = (size_t)(_end - __data_start);

	s->stack = (size_t)(region + STACK_SIZE - top()->stack_low);
	s->heap = (size_t)(top()->end - region) - STACK_SIZE;
	memcpy(s->data, __data_start, fixed);
	memcpy(s->data + fixed, top()->stack_low, s->stack + s->heap);
}

void memory_restore(const struct saved *s)
{
	size_t fixed = (size_t)(_end - __data_start);

	memcpy(__data_start, s->data, fixed);
	memcpy(region + STACK_SIZE - s->stack, s->data + fixed, s->stack + s->heap);
}

/* ---- the same state ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 29);
}

/* The number of a block in this hash; news: it had none. */
static uint32_t number_of(const void *at, bool *news)
{
	size_t i = ((uintptr_t)at >> 4) * UINT64_C(0x9e3779b97f4a7c15) % SEEN_MAX;

	while (memory->seen[i].turn == memory->turn && memory->seen[i].at != at)
		i = (i + 1) % SEEN_MAX;
	*news = memory->seen[i].turn != memory->turn;
	if (*news) {
		memory->seen[i].turn = memory->turn;
		memory->seen[i].at = at;
		memory->seen[i].number = memory->count++;
	}
	return memory->seen[i].number;
}

/* The block that a word of memory points into; NULL: none. */
static struct block *pointed_at(uint64_t word)
{
	char *first = region + STACK_SIZE + ((sizeof(struct top) + 63) & ~(size_t)63);
	char *p = (char *)(uintptr_t)word;

	if (p < first + sizeof(struct block) || p >= top()->end)
		return NULL;
	for (p = (char *)((uintptr_t)p & ~(uintptr_t)15) - sizeof(struct block); p >= first;
	     p -= 16) {
		struct block *b = (struct block *)p;

		if (b->mark == BLOCK_FREE && b->size % 16 == 0)
			return NULL;
		if (b->mark == BLOCK_USED && b->size % 16 == 0 &&
		    (char *)(b + 1) + b->size > (char *)(uintptr_t)word)
			return b;
	}
	return NULL;
}

static int64_t age(int64_t ms)
{
	return ms > LONG_AGO ? LONG_AGO : ms;
}

static uint64_t hash_word(uint64_t h, uint64_t word)
{
	struct block *b = pointed_at(word);
	int64_t t = (int64_t)word;
	bool news;
	uint32_t number;

	if (b) {
		number = number_of(b, &news);
		if (news)
			memory->order[number] = b;
		return mix(mix(h, number), word - (uint64_t)(uintptr_t)b);
	}
	if (t >= MONOTONIC_BEGIN && t < MONOTONIC_BEGIN + CLOCK_RANGE)
		return mix(h, (uint64_t)age(world->now - t) ^ 0x1111);
	if (t >= BOOTTIME_BEGIN && t < BOOTTIME_BEGIN + CLOCK_RANGE)
		return mix(h, (uint64_t)age(world->now + world->suspended + BOOTTIME_BEGIN -
					    MONOTONIC_BEGIN - t) ^
				      0x2222);
	return mix(h, word);
}

static uint64_t hash_words(uint64_t h, const void *from, size_t size)
{
	uint64_t word;

	for (size_t i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, (const char *)from + i, sizeof(word));
		h = hash_word(h, word);
	}
	return h;
}

/* Not looked into: what is known by other means, or never matters. */
static void leave_out(const void *p)
{
	bool news;

	if (p)
		memory->order[number_of(block_of((void *)(uintptr_t)p), &news)] = NULL;
}

/* What is only for the last line of the log, or for people, is left out. */
static struct supervisor essence(const struct supervisor *s)
{
	struct supervisor e = *s;

	memset(e.words, 0, sizeof(e.words));
	e.climber.history = NULL;
	e.climber.history_count = 0;
	e.process.began = e.process.since = 0;
	e.process.down_since = e.process.gone_since = 0;
	e.link.connects = e.link.connects > 0 ? 1 + e.link.connects % 2 : 0;
	return e;
}

static uint64_t hash_world(uint64_t h)
{
	struct qemu q = world->qemu;

	memset(q.commands, 0, sizeof(q.commands));
	h = hash_words(h, &q, sizeof(q));
	for (size_t i = 0; i < world->qemu.count; i++) {
		const struct command *c = &world->qemu.commands[i];

		for (const char *p = c->name; *p; p++)
			h = mix(h, (uint64_t)*p);
		h = hash_words(h, c->text, sizeof(c->text));
		h = hash_word(h, (uint64_t)(uintptr_t)c->reply);
		h = hash_word(h, (uint64_t)(uintptr_t)c->arg);
		h = mix(hash_word(h, (uint64_t)c->sent), c->stops);
	}
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		h = mix(h,
			(uint64_t)(world->connections[i].open + 2 * world->connections[i].hung_up));
	h = mix(h, (uint64_t)(world->cut + 2 * world->agent_refuses));
	return hash_words(h, &world->ghost, sizeof(world->ghost));
}

uint64_t memory_hash(const struct supervisor *s)
{
	struct supervisor e = essence(s);
	uint64_t h = 1;

	memory->turn++;
	memory->count = 0;
	leave_out(s->link.qmp);
	leave_out(s->base);
	leave_out(s->options.policy.rows);
	h = hash_words(hash_world(h), &e, sizeof(e));
	for (uint32_t i = 0; i < memory->count && i < ARRAY_SIZE(memory->order); i++)
		if (memory->order[i])
			h = hash_words(h, memory->order[i] + 1, memory->order[i]->size);
	return h;
}
