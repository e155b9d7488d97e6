/*
 * What the guest can hear: whether it listens to its power button, and pressing it when it does.
 *
 * On PC machines a guest that obeys the ACPI power button has set bit 8 (PWRBTN_EN) of the PM1
 * enable register (ACPI 6.5, 4.8.3.1.2); firmware, boot loaders and guests without ACPI have not. A
 * press that nobody listens to is lost. The register is read through HMP's "i", at the address that
 * the property pm_io_base of the owner of the memory region "acpi-evt" tells (hw/acpi/core.c).
 * probe.h has the other machines. Nothing but HMP shows registers: without it nothing is known.
 */
#ifndef GUEST_H
#define GUEST_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "qmp.h"

struct guest;

struct guest_callbacks {
	/* The clock, ms, which stands still while we do. */
	int64_t (*now)(void *arg);
	/* The power button is to be pressed now. */
	void (*pressing)(void *arg);
	/* The power button was pressed. doubt: "", or what is not known, for the end of a line. */
	void (*pressed)(void *arg, unsigned presses, const char *doubt);
	/* QEMU has answered so many presses; the rest it may not have read. */
	void (*taken)(void *arg, unsigned presses);
	/* Pressing waits until the guest listens; what was pressed before was not heard. Told once
	 * for each guest_press(). */
	void (*waiting)(void *arg, int64_t at_most_ms);
	/* QEMU does not answer, or is not there. Pressing goes on when it is. */
	void (*stuck)(void *arg);
	/* Nobody will answer a press: pressing has ended. */
	void (*nobody)(void *arg, const char *why);
	/* The guest is ready, as guest_await() asked; how says what is known of that. */
	void (*listens)(void *arg, const char *how);
};

/* press_interval: ms between presses, 0: press once. boot_timeout: how long a guest may be deaf
 * after it was (re)started. callbacks and arg must outlive the guest. */
struct guest *guest_new(struct event_base *base, int64_t press_interval, int64_t boot_timeout,
			const struct guest_callbacks *callbacks, void *arg);
void guest_free(struct guest *guest);

/* The connection to use, which must be ready; NULL: it is lost. Not owned. */
void guest_set_qmp(struct guest *guest, struct qmp *qmp);

/* The guest was (re)started just now: it may be deaf while it boots. */
void guest_restarted(struct guest *guest);

/* The run state may have changed (an event): look now, not at the next turn. */
void guest_look(struct guest *guest);

/*
 * Begins to press: when the guest listens, and again. First does what its run state asks for.
 * running: that it runs is known already; then a guest that was seen listening since its last start
 * is pressed at once, and looked at after that. Returns whether it was pressed at once.
 */
bool guest_press(struct guest *guest, bool running);

/*
 * Goes on with the pressing that another supervisor began: the guest was pressed so often (at least
 * once) before, and is pressed again as it would have been.
 */
void guest_press_on(struct guest *guest, unsigned presses);

/* We did not run for a while: QEMU has its time to answer again. */
void guest_slept(struct guest *guest);

/* Ends pressing. */
void guest_release(struct guest *guest);

/* Asks for one call of listens(); or does so no longer. */
void guest_await(struct guest *guest);
void guest_await_no_longer(struct guest *guest);

/* "listens", "does not listen", "not known" and the like: as last seen. */
const char *guest_hearing(const struct guest *guest);

#endif
