/* What QEMU's options need of their host, in rights; most of it no machine of ours has. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/xalloc.h"
#include "vm/confineoptions.h"

static char base[] = "/tmp/unit-confine.XXXXXX";

static int begin_tests(void **state)
{
	char *command;

	(void)state;
	assert_non_null(mkdtemp(base));
	command = xasprintf("cd %s && mkdir -p devices/00:02.0 groups/7 && "
			    "ln -s ../../groups/7 devices/00:02.0/iommu_group && "
			    "ln -s devices/00:02.0 pci",
			    base);
	assert_int_equal(system(command), 0);
	free(command);
	setenv("HOME", "/h", 1);
	setenv("XDG_RUNTIME_DIR", "/x", 1);
	unsetenv("XAUTHORITY");
	return 0;
}

static int end_tests(void **state)
{
	char *command = xasprintf("rm -r %s", base);

	(void)state;
	assert_int_equal(system(command), 0);
	free(command);
	return 0;
}

/* A letter for each right. */
static void print_rights(FILE *to, unsigned rights)
{
	static const char letters[] = "rwxmsuit";

	for (size_t i = 0; i < sizeof(letters) - 1; i++)
		if (rights & (1U << i))
			fputc(letters[i], to);
}

/* "PATH RIGHTS, ...", and the limits that no longer hold. Malloc'd. */
static char *needs(const char *option, const char *value)
{
	static const char *const limits[] = {"bind", "call", "bus", "signals"};
	const char *argv[] = {"qemu", option, value, NULL};
	struct confinement c = {.limits = (1U << ARRAY_SIZE(limits)) - 1};
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	confine_options(&c, &(struct confine_use){.argv = argv, .home = "/home/web"});
	for (size_t i = 0; i < c.count; i++) {
		fprintf(to, "%s%s ", ftell(to) > 0 ? ", " : "", c.v[i].path);
		print_rights(to, c.v[i].rights);
		fputs(c.v[i].create ? "+" : c.v[i].connects ? "@" : "", to);
	}
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (!(c.limits & (1U << i)))
			fprintf(to, "%s%s", ftell(to) > 0 ? ", " : "", limits[i]);
	fclose(to);
	confine_free(&c);
	return text;
}

static void each(void **state)
{
	static const struct {
		const char *option, *value, *expected;
	} rows[] = {
		{"-chardev", "pipe,id=a,path=/p", "/p rw, /p.in rw, /p.out rw"},
		{"-serial", "pipe:/p", "/p rw, /p.in rw, /p.out rw"},
		{"-serial", "file:log", "/home/web/log rw+"},
		{"-serial", "/dev/ttyS0", "/dev/ttyS0 rwi"},
		{"-serial", "mon:stdio", ""},
		{"-monitor", "pty", "/dev/ptmx rwi, /dev/pts rwi"},
		{"-serial", "mon:pty", "/dev/ptmx rwi, /dev/pts rwi"},
		{"-chardev", "pty,id=a", "/dev/ptmx rwi, /dev/pts rwi"},
		{"-chardev", "socket,id=a,path=/s/c,server=on", "/s su"},
		{"-chardev", "socket,id=a,path=/s/c", "/s/c @"},
		{"-chardev", "socket,id=a,host=h,port=1", "bind, call"},
		{"-qmp", "unix:/s/c,server=on,wait=off", "/s su"},
		{"-monitor", "tcp:h:1", "bind, call"},
		{"-incoming", "unix:/s/c", "/s su"},
		{"-incoming", "defer", "bind"},
		{"-vnc", "unix:/s/v", "/s su"},
		{"-vnc", ":1", "bind, call"},
		{"-vnc", "none", ""},
		{"-display", "vnc=:1", "bind, call"},
		{"-display", "none", ""},
		{"-audiodev", "none,id=a", ""},
		{"-audiodev", "alsa,id=a", "/dev/snd rwi"},
		{"-machine", "q35,accel=kvm:tcg", "/dev/kvm rwi"},
		{"-machine", "q35,accel=tcg", ""},
		{"-accel", "kvm", "/dev/kvm rwi"},
		{"-drive", "file=nbd://h/x,if=none", "call"},
		{"-blockdev", "{\"driver\":\"raw\",\"file\":{\"driver\":\"https\"}}", "call"},
		{"-cdrom", "http://h/x", "call"},
		{"-cdrom", "/iso", ""},
		{"-device", "usb-host,hostbus=1",
		 "/dev/bus/usb rwi, /sys/bus r, /sys/devices r, /run/udev r"},
		{"-device", "e1000", ""},
		{"-S", "", ""},
		{"-S", NULL, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *got = needs(rows[i].option, rows[i].value);

		if (strcmp(got, rows[i].expected) != 0)
			fail_msg("%s %s: %s", rows[i].option, rows[i].value, got);
		free(got);
	}
}

#define VFIO "/dev/vfio/vfio rwi, /dev/vfio/devices rwi, "
#define PCI  "/sys/bus/pci/devices/"

/* The container, the device, and the group in which it is. */
static void a_device_of_the_host(void **state)
{
	char *given = xasprintf("vfio-pci,sysfsdev=%s/pci", base);
	char *expected =
		xasprintf(VFIO "%s/devices/00:02.0 rw, /dev/vfio/7 rwi, %s/groups/7 r", base, base);
	char *got = needs("-device", given);

	(void)state;
	assert_string_equal(got, expected);
	free(got);
	free(expected);
	free(given);
	got = needs("-device", "vfio-pci,host=ffff:fe:1f.7");
	assert_string_equal(got, VFIO PCI "ffff:fe:1f.7 rw");
	free(got);
	got = needs("-device", "vfio-pci,host=fe:1f.7");
	assert_string_equal(got, VFIO PCI "0000:fe:1f.7 rw");
	free(got);
}

static void assert_windows(const char *option, const char *value, bool authority)
{
	char *got = needs(option, value);

	assert_non_null(strstr(got, "/dev/dri rwi, /dev/shm rwmu, /dev/snd rwi, "));
	assert_non_null(strstr(got, ", /x rwmu, /h/.Xauthority r, "));
	assert_non_null(strstr(got, ", /h/.cache/fontconfig rwt, call, bus"));
	assert_int_equal(strstr(got, ", /xa r, ") != NULL, authority);
	free(got);
}

/* A window needs the user's desktop; what no variable names is left out. */
static void a_window(void **state)
{
	char *got;

	(void)state;
	assert_windows("-display", "gtk", false);
	assert_windows("-audiodev", "pa,id=a", false);
	setenv("XAUTHORITY", "/xa", 1);
	assert_windows("-display", "sdl,gl=on", true);
	unsetenv("XAUTHORITY");
	unsetenv("HOME");
	got = needs("-display", "gtk");
	assert_null(strstr(got, "/.Xauthority"));
	free(got);
	setenv("HOME", "/h", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each),
		cmocka_unit_test(a_device_of_the_host),
		cmocka_unit_test(a_window),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin_tests, end_tests);
}
