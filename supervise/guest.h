/*
 * The power button: whether the guest listens to it, and pressing it when it does.
 *
 * On PCs, a guest that obeys the ACPI power button has set bit 8 (PWRBTN_EN) of the PM1 enable
 * register (ACPI 6.5, 4.8.3.1.2); firmware, boot loaders and guests without ACPI have not. A press
 * to which nobody listens is lost. The register is read with HMP's "i" at the address in the
 * property pm_io_base of the owner of the memory region "acpi-evt" (hw/acpi/core.c). probe.h has
 * other machines. Only HMP shows registers: without it nothing is known.
 */
#ifndef GUEST_H
#define GUEST_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "qmp.h"
#include "supervise/probe.h"

struct guest;

struct guest_callbacks {
	/* The clock in ms, which stops while we do not run. */
	int64_t (*now)(void *arg);
	/* Called just before a press. */
	void (*pressing)(void *arg);
	/*
	 * The power button was pressed. doubt: "", or what is not known, for the end of a log line.
	 */
	void (*pressed)(void *arg, unsigned presses, const char *doubt);
	/* QEMU has answered this many presses, and may not have read the others. */
	void (*taken)(void *arg, unsigned presses);
	/*
	 * Waiting until the guest listens; earlier presses were lost. Once for each guest_press().
	 */
	void (*waiting)(void *arg, int64_t at_most_ms);
	/* QEMU does not answer, or is not connected. Pressing resumes when it does. */
	void (*stuck)(void *arg);
	/* No press will be answered: pressing has ended. */
	void (*nobody)(void *arg, const char *why);
	/* The guest is ready: guest_await() is done. how says how that is known. */
	void (*listens)(void *arg, const char *how);
};

/*
 * press_interval: ms between presses, 0: press once. boot_timeout: how long in ms a guest may be
 * deaf after a (re)start. callbacks and arg must outlive the guest.
 */
struct guest *guest_new(struct event_base *base, int64_t press_interval, int64_t boot_timeout,
			const struct guest_callbacks *callbacks, void *arg);
void guest_free(struct guest *guest);

/* Sets the connection, which must be ready, or NULL if it is lost. Not owned. */
void guest_set_qmp(struct guest *guest, struct qmp *qmp);

/* The guest was just (re)started: it may be deaf while it boots. */
void guest_restarted(struct guest *guest);

/* The guest has woken from S3: what handles its button may be late, as at a start. */
void guest_woken(struct guest *guest);

/* The run state may have changed (an event): looks now, not at the next turn. */
void guest_look(struct guest *guest);

/*
 * Begins to press when the guest listens, and repeats. First does what its run state needs.
 * running: it is known to run; then a guest that was seen listening since its start is pressed at
 * once and looked at afterwards. Returns whether it was pressed at once.
 */
bool guest_press(struct guest *guest, bool running);

/* Continues pressing for another supervisor, which pressed presses (at least 1) times. */
void guest_press_on(struct guest *guest, unsigned presses);

/* We did not run for a while: QEMU's time to answer starts again. */
void guest_slept(struct guest *guest);

/* Ends pressing. */
void guest_release(struct guest *guest);

/* Asks for one call of listens(), or cancels that. */
void guest_await(struct guest *guest);
void guest_await_no_longer(struct guest *guest);

/* Whether its CPUs are known to be of x86. */
bool guest_is_pc(const struct guest *guest);

/* "listens", "does not listen", "not known" and the like, as last seen. */
const char *guest_hearing(const struct guest *guest);

/* The same; not known also after a (re)start, until it is looked at. */
enum hears guest_hears(const struct guest *guest);

#endif
