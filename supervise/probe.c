#include "supervise/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/xalloc.h"

static enum hears read_ioapic(const char *answer);
static enum hears read_epow(const char *answer);

/*
 * The first matching row wins. A region is the start of a name in "info mtree -o"; with @, the one
 * at that address. kvm-ioapic, and a GIC of another type, are in the kernel and invisible.
 *
 * Two must not be read: the selector of acpi-ged, which reading clears, and the distributor of a
 * GICv2, gic_dist, which ends QEMU if there is more than one CPU.
 */
static const struct machine {
	const char *name;
	const char *target;	/* NULL: any; a final * matches the rest */
	const char *regions[2]; /* all must exist */
	const char *type;	/* of the first one's owner; NULL: any */
	const char *line;	/* HMP command */
	unsigned long bit;	/* in the number of its answer */
	enum hears means;	/* if the bit is set */
	enum hears (*read)(const char *answer);
	bool pm1, no_button, keeps_presses;
} machines[] = {
	{.name = "ACPI's PM1 registers", .regions = {"acpi-evt "}, .pm1 = true},
	/* GPIOIE of the PL061: QEMU's power key is on pin 3, which gpio_keys enables. */
	{.name = "GPIO",
	 .target = "a*",
	 .regions = {"pl061 @0000000009030000"},
	 .line = "xp /1wx 0x09030410",
	 .bit = 1 << 3,
	 .means = HEARS_PRESSES},
	/* GICD_ISENABLER1: ACPI's interrupt is INTID 41. */
	{.name = "GICv3",
	 .target = "aarch64",
	 .regions = {"gicv3_dist @0000000008000000", "acpi-ged @0000000009080000"},
	 .type = "arm-gicv3",
	 .line = "xp /1wx 0x08000104",
	 .bit = 1 << 9,
	 .means = HEARS_PERHAPS},
	{.name = "IOAPIC",
	 .regions = {"ioapic @00000000fec00000", "acpi-ged @00000000fea00000"},
	 .line = "info pic",
	 .read = read_ioapic},
	{.name = "EPOW",
	 .target = "ppc64",
	 .regions = {"tce-root-"},
	 .line = "info pic",
	 .read = read_epow,
	 .keeps_presses = true},
	{.name = "SCLP", .target = "s390x", .keeps_presses = true},
	/* All other machines here obey system_powerdown. */
	{.name = NULL, .regions = {"acpi-ged "}},
	{.name = NULL, .regions = {"pl061 "}},
	{.name = "no power button", .target = "x86_64", .regions = {"fwcfg "}, .no_button = true},
	{.name = "no power button", .target = "i386", .regions = {"fwcfg "}, .no_button = true},
	{.name = "no power button",
	 .target = "riscv*",
	 .regions = {"riscv_virt_board.mrom "},
	 .no_button = true},
};

/* ---- HMP's text on interrupt controllers ---- */

/*
 * "  pin 9  0x0000000000010000 dest=0 vec=0   active-hi edge  masked fixed  physical"; an unmasked
 * pin lacks "masked". There may be two IOAPICs, in the order of QEMU's hash table. Pin 9 of the
 * other one is a virtio device's, which takes ACPI to find.
 */
static enum hears read_ioapic(const char *answer)
{
	static const char pin[] = "  pin 9 ";
	enum hears hears = HEARS_NOT_KNOWN;

	for (const char *at = answer; (at = strstr(at, pin)); at += strlen(pin)) {
		if (!memmem(at, strcspn(at, "\n"), " masked ", 8))
			return HEARS_PERHAPS;
		hears = HEARS_NOTHING;
	}
	return hears;
}

/*
 * Interrupt 0x1000. XICS: "  1000 MSI ff 00" is masked, a priority other than ff is not.
 * XIVE: "  00001000 MSI -Q  M ..." is masked, without M it is not. Until the guest chooses one,
 * there are lines of both, or none.
 */
static enum hears read_epow(const char *answer)
{
	const char *xive = strstr(answer, "  00001000 MSI ");
	const char *xics = strstr(answer, "  1000 MSI ");

	if (!strstr(answer, "irqchip: emulated"))
		return HEARS_NOT_KNOWN;
	if (xive)
		return memmem(xive, strcspn(xive, "\n"), " M ", 3) ? HEARS_NOTHING : HEARS_PRESSES;
	if (xics)
		return strncmp(xics + 11, "ff", 2) == 0 ? HEARS_NOTHING : HEARS_PRESSES;
	return HEARS_NOT_KNOWN;
}

long probe_number(const char *answer)
{
	const char *before = answer ? strpbrk(answer, "=:") : NULL;
	char *end;
	long number;

	if (!before)
		return -1;
	number = strtol(before + 1, &end, 16);
	return end == before + 1 ? -1 : number;
}

/* ---- which machine it is ---- */

static bool begins(const char *text, const char *with, size_t length)
{
	return strncmp(text, with, length) == 0;
}

/* The region's line; NULL: there is none. */
static const char *find_region(const char *mtree, const char *region)
{
	size_t length = strcspn(region, "@");
	const char *wanted = region + length + (region[length] != '\0');
	size_t digits = strlen(wanted);

	for (const char *line = mtree; *line;) {
		size_t end = strcspn(line, "\n");
		const char *name = memmem(line, end, "): ", 3);
		const char *address = line + strspn(line, " ");

		if (name && begins(name + 3, region, length) && begins(address, wanted, digits))
			return line;
		line += end + (line[end] != '\0');
	}
	return NULL;
}

static bool matches(const struct machine *m, const char *target, const char *mtree)
{
	const char *wanted = m->target ? m->target : "*";
	size_t length = strcspn(wanted, "*");

	if (!begins(target, wanted, wanted[length] ? length : length + 1))
		return false;
	for (size_t i = 0; i < 2 && m->regions[i]; i++)
		if (!find_region(mtree, m->regions[i]))
			return false;
	return true;
}

/* A line ends with "owner:{dev path=/machine/...[2]}" or "owner:{dev id=...}". */
static char *find_owner(const char *line)
{
	static const char before[] = " path=";
	const char *path = memmem(line, strcspn(line, "\n"), before, strlen(before));

	if (!path)
		return NULL;
	path += strlen(before);
	return xasprintf("%.*s", (int)strcspn(path, "}\r\n"), path);
}

void probe_clear(struct probe *probe)
{
	free(probe->owner);
	*probe = (struct probe){0};
}

void probe_find(struct probe *probe, const char *target, const char *mtree)
{
	probe_clear(probe);
	mtree = mtree ? mtree : "";
	for (size_t i = 0; !probe->machine && i < ARRAY_SIZE(machines); i++)
		if (matches(&machines[i], target ? target : "", mtree))
			probe->machine = &machines[i];
	if (probe->machine && (probe->machine->pm1 || probe->machine->type))
		probe->owner = find_owner(find_region(mtree, probe->machine->regions[0]));
	if (probe->machine && probe->machine->type && !probe->owner)
		probe_clear(probe);
}

/* ---- what the row says ---- */

const char *probe_name(const struct probe *probe)
{
	const char *name = probe->machine ? probe->machine->name : NULL;

	return name ? name : "not known";
}

const char *probe_type(const struct probe *probe)
{
	return probe->machine ? probe->machine->type : NULL;
}

bool probe_is_pm1(const struct probe *probe)
{
	return probe->machine && probe->machine->pm1 && probe->owner;
}

const char *probe_line(const struct probe *probe)
{
	return probe->machine ? probe->machine->line : NULL;
}

bool probe_is_readable(const struct probe *probe)
{
	return probe_is_pm1(probe) || probe_line(probe);
}

json_t *probe_of_owner(const struct probe *probe, const char *property)
{
	return json_pack("{s:s, s:s}", "path", probe->owner, "property", property);
}

json_t *probe_hmp(const char *line)
{
	return json_pack("{s:s}", "command-line", line);
}

json_t *probe_hmp_port(json_int_t port)
{
	char line[32];

	snprintf(line, sizeof(line), "i /h 0x%llx", (unsigned long long)port);
	return probe_hmp(line);
}

enum hears probe_read(const struct probe *probe, const char *answer)
{
	const struct machine *m = probe->machine;
	long number = probe_number(answer);

	if (!answer || !m)
		return HEARS_NOT_KNOWN;
	if (m->read)
		return m->read(answer);
	if (number < 0)
		return HEARS_NOT_KNOWN;
	return (unsigned long)number & m->bit ? m->means : HEARS_NOTHING;
}

const struct probe_words *probe_words(const struct probe *probe, enum hears hears)
{
	static const struct probe_words words[] = {
		[HEARS_NOT_KNOWN] =
			{"not known", "; whether the guest listens cannot be known",
			 "whether the guest listens cannot be known; ready, as it is started"},
		[HEARS_NOTHING] = {"does not listen", "", NULL},
		[HEARS_PERHAPS] =
			{"not known, the guest's ACPI is up",
			 "; the guest's ACPI is up, whether its driver listens cannot be known",
			 "the guest's ACPI is up; ready, though whether it listens to its power "
			 "button cannot be known"},
		[HEARS_PRESSES] = {"listens", "", "the guest listens to its power button"},
	};
	static const struct probe_words kept = {
		"not known", "; the machine keeps it until the guest listens",
		"whether the guest listens cannot be known; ready, as it is started"};
	static const struct probe_words none = {
		"there is none", "", "this machine has no power button; ready, as it is started"};

	if (probe_has_no_button(probe))
		return &none;
	return hears == HEARS_NOT_KNOWN && probe_keeps_presses(probe) ? &kept : &words[hears];
}

bool probe_has_no_button(const struct probe *probe)
{
	return probe->machine && probe->machine->no_button;
}

bool probe_keeps_presses(const struct probe *probe)
{
	return probe->machine && probe->machine->keeps_presses;
}
