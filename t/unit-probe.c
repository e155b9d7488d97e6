/* Where machines show whether their guest listens, and what they show: texts of QEMU's. */
#include "unit.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "supervise/probe.h"

#define LINE(address, name, owner)                                                                 \
	"    " address " (prio 0, i/o): " name " owner:{dev " owner "}\r\n"
#define PC                                                                                         \
	"address-space: I/O\r\n" LINE("0000000000000000-000000000000ffff", "io", "path=/machine")  \
		LINE("0000000000000600-0000000000000603", "acpi-evt", "path=/machine/device[2]")
#define GPIO	"0000000009030000-0000000009030fff"
#define GED	"0000000009080000-0000000009080003"
#define GIC	"0000000008000000-000000000800ffff"
#define IOAPIC	"00000000fec00000-00000000fec00fff"
#define X86_GED "00000000fea00000-00000000fea00003"

static void machines(void **state)
{
	static const struct {
		const char *target, *mtree, *name, *type, *line;
		bool pm1, no_button, keeps;
	} rows[] = {
		{"x86_64", PC, "ACPI's PM1 registers", NULL, NULL, true, false, false},
		{"i386", PC, "ACPI's PM1 registers", NULL, NULL, true, false, false},
		/* an owner that has no path cannot be asked */
		{"x86_64", LINE("0600-0603", "acpi-evt", "id=x"), "ACPI's PM1 registers", NULL,
		 NULL, false, false, false},
		{"x86_64", "    0600-0603 (prio 0, i/o): acpi-evt owner:{dev id=x}\r\n" PC,
		 "ACPI's PM1 registers", NULL, NULL, false, false, false},
		{"x86_64", LINE("0600-0603", "acpi-evtx", "path=/x"), "not known", NULL, NULL,
		 false, false, false},
		{"aarch64", LINE(GPIO, "pl061", "path=/gpio"), "GPIO", NULL, "xp /1wx 0x09030410",
		 false, false, false},
		{"arm", LINE(GPIO, "pl061", "path=/gpio"), "GPIO", NULL, "xp /1wx 0x09030410",
		 false, false, false},
		{"riscv64", LINE(GPIO, "pl061", "path=/gpio"), "not known", NULL, NULL, false,
		 false, false},
		{"aarch64", LINE("0000000009040000-9040fff", "pl061", "path=/gpio"), "not known",
		 NULL, NULL, false, false, false},
		{"aarch64", LINE(GIC, "gicv3_dist", "path=/gic") LINE(GED, "acpi-ged", "path=/ged"),
		 "GICv3", "arm-gicv3", "xp /1wx 0x08000104", false, false, false},
		{"aarch64", LINE(GED, "acpi-ged", "path=/ged") LINE(GIC, "gicv3_dist", "path=/gic"),
		 "GICv3", "arm-gicv3", "xp /1wx 0x08000104", false, false, false},
		{"aarch64_be",
		 LINE(GIC, "gicv3_dist", "path=/gic") LINE(GED, "acpi-ged", "path=/ged"),
		 "not known", NULL, NULL, false, false, false},
		{"aarch6", LINE(GIC, "gicv3_dist", "path=/gic") LINE(GED, "acpi-ged", "path=/ged"),
		 "not known", NULL, NULL, false, false, false},
		{"aarch64", LINE(GIC, "gicv3_dist", "path=/gic"), "not known", NULL, NULL, false,
		 false, false},
		{"aarch64", LINE(GIC, "gicv3_dist", "id=gic") LINE(GED, "acpi-ged", "path=/ged"),
		 "not known", NULL, NULL, false, false, false},
		{"aarch64", LINE(GIC, "gic_dist", "path=/gic") LINE(GED, "acpi-ged", "path=/ged"),
		 "not known", NULL, NULL, false, false, false},
		{"x86_64",
		 LINE(IOAPIC, "ioapic", "path=/i") LINE(X86_GED, "acpi-ged", "path=/ged")
			 LINE("0510-0511", "fwcfg", "path=/f"),
		 "IOAPIC", NULL, "info pic", false, false, false},
		{"x86_64",
		 LINE(IOAPIC, "kvm-ioapic", "path=/i") LINE(X86_GED, "acpi-ged", "path=/ged")
			 LINE("0510-0511", "fwcfg", "path=/f"),
		 "not known", NULL, NULL, false, false, false},
		{"x86_64", LINE("0510-0511", "fwcfg", "path=/f"), "no power button", NULL, NULL,
		 false, true, false},
		{"i386", LINE("0510-0511", "fwcfg", "path=/f"), "no power button", NULL, NULL,
		 false, true, false},
		{"aarch64", LINE("0510-0511", "fwcfg", "path=/f"), "not known", NULL, NULL, false,
		 false, false},
		{"riscv32", LINE("1000-1fff", "riscv_virt_board.mrom", "path=/r"),
		 "no power button", NULL, NULL, false, true, false},
		{"ppc64", LINE("0-f", "tce-root-80000000", "path=/t"), "EPOW", NULL, "info pic",
		 false, false, true},
		{"ppc64le", LINE("0-f", "tce-root-80000000", "path=/t"), "not known", NULL, NULL,
		 false, false, false},
		{"s390x", "", "SCLP", NULL, NULL, false, false, true},
		{"s390x", NULL, "SCLP", NULL, NULL, false, false, true},
		{NULL, NULL, "not known", NULL, NULL, false, false, false},
		{NULL, PC, "ACPI's PM1 registers", NULL, NULL, true, false, false},
		{"", "", "not known", NULL, NULL, false, false, false},
	};
	struct probe probe = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *type, *line;

		probe_find(&probe, rows[i].target, rows[i].mtree); /* what was found is cleared */
		type = probe_type(&probe);
		line = probe_line(&probe);
		if (strcmp(probe_name(&probe), rows[i].name) != 0)
			fail_msg("row %zu: %s", i, probe_name(&probe));
		assert_string_equal(type ? type : "", rows[i].type ? rows[i].type : "");
		assert_string_equal(line ? line : "", rows[i].line ? rows[i].line : "");
		assert_int_equal(probe_is_pm1(&probe), rows[i].pm1);
		assert_int_equal(probe_is_readable(&probe), rows[i].pm1 || line);
		assert_int_equal(probe_has_no_button(&probe), rows[i].no_button);
		assert_int_equal(probe_keeps_presses(&probe), rows[i].keeps);
	}
	probe_clear(&probe);
}

static void asked(json_t *arguments, const char *wanted)
{
	char *text = json_dumps(arguments, JSON_COMPACT | JSON_SORT_KEYS);

	assert_string_equal(text, wanted);
	free(text);
	json_decref(arguments);
}

static void what_is_asked(void **state)
{
	struct probe probe = {0};

	(void)state;
	probe_find(&probe, "x86_64", PC);
	asked(probe_of_owner(&probe, "pm_io_base"),
	      "{\"path\":\"/machine/device[2]\",\"property\":\"pm_io_base\"}");
	asked(probe_hmp("info pic"), "{\"command-line\":\"info pic\"}");
	asked(probe_hmp_port(0x602), "{\"command-line\":\"i /h 0x602\"}");
	probe_clear(&probe);
}

#define PIN(rest) "  pin 9  0x0000000000010000 dest=0 " rest "\n"
#define EPOW	  "irqchip: emulated\n"

static void what_is_shown(void **state)
{
	static const char gpio[] = LINE(GPIO, "pl061", "path=/gpio");
	static const char gic[] =
		LINE(GIC, "gicv3_dist", "path=/gic") LINE(GED, "acpi-ged", "path=/ged");
	static const char microvm[] =
		LINE(IOAPIC, "ioapic", "path=/i") LINE(X86_GED, "acpi-ged", "path=/ged");
	static const char pseries[] = LINE("0-f", "tce-root-80000000", "path=/t");
	static const struct {
		const char *target, *mtree, *answer;
		enum hears hears;
	} rows[] = {
		{"aarch64", gpio, "0000000009030410: 0x00000008\r\n", HEARS_PRESSES},
		{"aarch64", gpio, "0000000009030410: 0x00000007\r\n", HEARS_NOTHING},
		{"aarch64", gpio, "0000000009030410: 0x00000000\r\n", HEARS_NOTHING},
		{"aarch64", gpio, "Cannot access memory\r\n", HEARS_NOT_KNOWN},
		{"aarch64", gpio, NULL, HEARS_NOT_KNOWN},
		{"aarch64", gic, "0000000008000104: 0x00000202\r\n", HEARS_PERHAPS},
		{"aarch64", gic, "0000000008000104: 0x00000002\r\n", HEARS_NOTHING},
		{"x86_64", microvm, PIN("vec=0 masked fixed"), HEARS_NOTHING},
		{"x86_64", microvm, PIN("vec=32 fixed"), HEARS_PERHAPS},
		{"x86_64", microvm, PIN("vec=0 masked fixed") "pin\n" PIN("vec=32 fixed"),
		 HEARS_PERHAPS},
		{"x86_64", microvm, PIN("vec=0 masked fixed") PIN("vec=0 masked fixed"),
		 HEARS_NOTHING},
		{"x86_64", microvm, PIN("vec=32 fixed") "x masked y\n", HEARS_PERHAPS},
		{"x86_64", microvm, "  pin 10 0x0 vec=32 fixed\n", HEARS_NOT_KNOWN},
		{"ppc64", pseries, EPOW "  1000 MSI ff 00\n", HEARS_NOTHING},
		{"ppc64", pseries, EPOW "  1000 MSI 05 00\n", HEARS_PRESSES},
		{"ppc64", pseries, EPOW "  00001000 MSI -Q  M x\n", HEARS_NOTHING},
		{"ppc64", pseries, EPOW "  00001000 MSI --    x\n y M z\n", HEARS_PRESSES},
		{"ppc64", pseries, EPOW "  00001000 MSI --    x\n  1000 MSI ff 00\n",
		 HEARS_PRESSES},
		{"ppc64", pseries, EPOW, HEARS_NOT_KNOWN},
		{"ppc64", pseries, "irqchip: in-kernel\n  1000 MSI 05 00\n", HEARS_NOT_KNOWN},
		{"s390x", "", "x: 1", HEARS_NOTHING},
		{"m68k", "", "x: 1", HEARS_NOT_KNOWN},
	};
	struct probe probe = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		probe_find(&probe, rows[i].target, rows[i].mtree);
		if (probe_read(&probe, rows[i].answer) != rows[i].hears)
			fail_msg("row %zu", i);
	}
	probe_clear(&probe);
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		long number;
	} rows[] = {
		{"portw[0x0602] = 0x0120\r\n", 0x120},
		{"0000000009030410: 0x00000008\r\n", 8},
		{"a:12", 0x12},
		{"a=f", 15},
		{"a: ", -1},
		{"a:", -1},
		{"a: none", -1},
		{"nothing", -1},
		{"", -1},
		{NULL, -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(probe_number(rows[i].text), rows[i].number);
}

static void words(void **state)
{
	static const struct {
		const char *target, *mtree;
		enum hears hears;
		const char *status, *doubt, *ready; /* the begin of the last two */
	} rows[] = {
		{"x86_64", PC, HEARS_PRESSES, "listens", "", "the guest listens"},
		{"x86_64", PC, HEARS_NOTHING, "does not listen", "", NULL},
		{"x86_64", PC, HEARS_NOT_KNOWN, "not known", "; whether", "whether"},
		{"x86_64", PC, HEARS_PERHAPS, "not known, the guest's ACPI is up",
		 "; the guest's ACPI is up", "the guest's ACPI is up"},
		{"s390x", "", HEARS_NOT_KNOWN, "not known", "; the machine keeps it", "whether"},
		{"ppc64", LINE("0-f", "tce-root-80000000", "path=/t"), HEARS_PRESSES, "listens", "",
		 "the guest listens"},
		{"x86_64", LINE("0510-0511", "fwcfg", "path=/f"), HEARS_NOT_KNOWN, "there is none",
		 "", "this machine has no power button"},
	};
	struct probe probe = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct probe_words *w;

		probe_find(&probe, rows[i].target, rows[i].mtree);
		w = probe_words(&probe, rows[i].hears);
		assert_string_equal(w->status, rows[i].status);
		assert_int_equal(strlen(rows[i].doubt) > 0, strlen(w->doubt) > 0);
		assert_memory_equal(w->doubt, rows[i].doubt, strlen(rows[i].doubt));
		assert_int_equal(!!w->ready, !!rows[i].ready);
		if (w->ready)
			assert_memory_equal(w->ready, rows[i].ready, strlen(rows[i].ready));
	}
	probe_clear(&probe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machines),	 cmocka_unit_test(what_is_asked),
		cmocka_unit_test(what_is_shown), cmocka_unit_test(numbers),
		cmocka_unit_test(words),
	};

	return RUN(tests);
}
