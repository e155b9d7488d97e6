/*
 * Where a machine shows whether its guest listens to the power button.
 *
 * QEMU's target and tree of memory regions identify the machine. One without a row in the table is
 * not known, and is never read: reading changes some registers, and ends QEMU with others.
 */
#ifndef PROBE_H
#define PROBE_H

#include <jansson.h>
#include <stdbool.h>

/* In order of what is known. */
enum hears {
	HEARS_NOT_KNOWN,
	HEARS_NOTHING,
	HEARS_PERHAPS, /* its ACPI runs; the button's driver does not show */
	HEARS_PRESSES,
};

struct machine;

struct probe {
	const struct machine *machine; /* NULL: not known */
	char *owner;		       /* QOM path of the device with the register, or NULL */
};

/* Finds the row. target is from query-target, mtree the answer to "info mtree -o", or NULL. */
void probe_find(struct probe *probe, const char *target, const char *mtree);
void probe_clear(struct probe *probe);

/* The QOM type that the owner must have, else call probe_clear(); NULL: any. */
const char *probe_type(const struct probe *probe);

/*
 * Whether PM1's registers are to be read, whose base is the owner's pm_io_base. If not,
 * probe_line() is the HMP line to send (NULL: nothing to read), and probe_read() reads its answer.
 */
bool probe_is_pm1(const struct probe *probe);
const char *probe_line(const struct probe *probe);
enum hears probe_read(const struct probe *probe, const char *answer);
bool probe_is_readable(const struct probe *probe); /* either of these */

/*
 * Arguments, new references: for qom-get of the owner; for human-monitor-command, a line, and one
 * that reads 16 bits from an I/O port.
 */
json_t *probe_of_owner(const struct probe *probe, const char *property);
json_t *probe_hmp(const char *line);
json_t *probe_hmp_port(json_int_t port);

bool probe_has_no_button(const struct probe *probe);
/* Whether the machine keeps a press until the guest listens, so that one is enough. */
bool probe_keeps_presses(const struct probe *probe);

/*
 * Words for status; for the end of a log line about a press; for an awaited guest (NULL: not
 * ready).
 */
struct probe_words {
	const char *status, *doubt, *ready;
};

const struct probe_words *probe_words(const struct probe *probe, enum hears hears);
const char *probe_name(const struct probe *probe);

/*
 * The number in HMP's answer to i or xp: "portw[0x0602] = 0x0120", "0000000009030410: 0x00000008";
 * or -1.
 */
long probe_number(const char *answer);

#endif
