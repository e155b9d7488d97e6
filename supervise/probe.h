/*
 * Where a machine shows whether its guest listens to the power button. QEMU tells by its target and
 * by its tree of memory regions which machine it is; what does not match any row of the table is
 * not known, and is never read: some registers change when they are read, and some end QEMU.
 */
#ifndef PROBE_H
#define PROBE_H

#include <jansson.h>
#include <stdbool.h>

/* In the order of what is known. */
enum hears {
	HEARS_NOT_KNOWN,
	HEARS_NOTHING,
	HEARS_PERHAPS, /* its ACPI is up, whether the driver of the button is does not show */
	HEARS_PRESSES,
};

struct machine;

struct probe {
	const struct machine *machine; /* NULL: nothing is known of it */
	char *owner;		       /* the QOM path of the device with the register, or NULL */
};

/* Finds the row: target is query-target's, mtree the answer to "info mtree -o" (NULL: there is
 * none). Frees what the probe had. */
void probe_find(struct probe *probe, const char *target, const char *mtree);
void probe_clear(struct probe *probe);

/* What the owner's QOM type must be, or else probe_clear(): NULL where it does not matter. */
const char *probe_type(const struct probe *probe);

/* Whether that is PM1's registers, whose base the owner's pm_io_base tells; otherwise probe_line()
 * is the line for HMP, NULL if there is nothing to be read, and probe_read() knows its answer. */
bool probe_is_pm1(const struct probe *probe);
const char *probe_line(const struct probe *probe);
enum hears probe_read(const struct probe *probe, const char *answer);
bool probe_is_readable(const struct probe *probe); /* is it either of them */

/* Arguments, owned by the caller: for qom-get of the owner; for human-monitor-command, a
 * line and one that reads 16 bits from an I/O port. */
json_t *probe_of_owner(const struct probe *probe, const char *property);
json_t *probe_hmp(const char *line);
json_t *probe_hmp_port(json_int_t port);

bool probe_has_no_button(const struct probe *probe);
/* The machine keeps a press until the guest listens: one is enough. */
bool probe_keeps_presses(const struct probe *probe);

/* For the log: of the status; at the end of a line about a press; and of a guest that is awaited
 * (NULL: it still is). */
struct probe_words {
	const char *status, *doubt, *ready;
};

const struct probe_words *probe_words(const struct probe *probe, enum hears hears);
const char *probe_name(const struct probe *probe);

/* HMP's answer to i or xp: "portw[0x0602] = 0x0120", "0000000009030410: 0x00000008". -1: it is
 * none. */
long probe_number(const char *answer);

#endif
