#include "vm/confineoptions.h"

#include <fnmatch.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/xalloc.h"
#include "vm/blocknode.h"
#include "vm/option.h"

#define TYPE "type" /* the key of a leading bare value */

#define READ   LANDLOCK_READ
#define BOTH   (LANDLOCK_READ | LANDLOCK_WRITE)
#define DEVICE (BOTH | LANDLOCK_DEVICE)
#define TREE   (BOTH | LANDLOCK_TREE)
#define BIND   LANDLOCK_NO_BIND
#define CALL   LANDLOCK_NO_CONNECT
#define BUS    LANDLOCK_NO_ABSTRACT

/* What is special about a value that is a path. */
enum special {
	PLAIN,
	CREATED,  /* QEMU makes it if it is not there */
	LISTENER, /* QEMU makes it, as a socket, and removes one that is there */
	SOCKET,	  /* the same with server=on; else it only connects */
	PIPE,	  /* PATH, or PATH.in and PATH.out */
	MEMORY,	  /* a file, or a directory for one */
	SHARE,	  /* a directory; read only where the option says so */
	PCI,	  /* a device's address on the host: what VFIO needs of it */
};

struct row {
	const char *options; /* their names, between spaces */
	const char *type;    /* an fnmatch(3) pattern, or NULL: any */
	const char *key;     /* whose value is the path; NULL: path is */
	const char *path;    /* of the host; NULL with a key */
	unsigned rights;
	enum special special;
	unsigned needs; /* limits that do not hold */
};

#define VALUE(names, of, name, ...)                                                                \
	{                                                                                          \
		.options = names, .type = of, .key = name, __VA_ARGS__                             \
	}
#define HOST(names, of, file, ...)                                                                 \
	{                                                                                          \
		.options = names, .type = of, .path = file, __VA_ARGS__                            \
	}
#define NET(names, of, ...)                                                                        \
	{                                                                                          \
		.options = names, .type = of, .needs = __VA_ARGS__                                 \
	}

#define NETS	"netdev nic net"
#define WINDOWS "@window@" /* displays that are windows, and sound of a desktop */

static const struct row rows[] = {
	/* the machine */
	HOST("accel", "kvm*", "/dev/kvm", .rights = DEVICE),
	HOST("enable-kvm", NULL, "/dev/kvm", .rights = DEVICE),
	HOST("accel", "xen*", "/dev/xen", .rights = DEVICE),
	HOST("object", "sev*guest", "/dev/sev", .rights = DEVICE),
	VALUE("object", "sev*guest", "sev-device", .rights = DEVICE),
	VALUE("machine M", NULL, "dumpdtb", .rights = BOTH, .special = CREATED),
	VALUE("kernel initrd dtb bios L plugin option-rom readconfig", NULL, TYPE, .rights = READ),
	VALUE("option-rom plugin", NULL, "file", .rights = READ),
	VALUE("acpitable", NULL, "file", .rights = READ),
	VALUE("acpitable", NULL, "data", .rights = READ),
	VALUE("smbios", NULL, "file", .rights = READ),
	VALUE("smbios", NULL, "path", .rights = READ),
	VALUE("fw_cfg", NULL, "file", .rights = READ),
	VALUE("mem-path", NULL, TYPE, .rights = BOTH, .special = MEMORY),
	VALUE("object", "memory-backend-file", "mem-path", .rights = BOTH, .special = MEMORY),
	/* other objects and devices */
	VALUE("object", "rng-random", "filename", .rights = DEVICE),
	VALUE("object", "secret*", "file", .rights = READ),
	VALUE("object", "tls-creds*", "dir", .rights = READ),
	VALUE("object", "authz-list-file", "filename", .rights = READ),
	VALUE("object", "filter-dump", "file", .rights = BOTH, .special = CREATED),
	VALUE("object", "input-linux", "evdev", .rights = DEVICE),
	HOST("object", "iommufd", "/dev/iommu", .rights = DEVICE),
	VALUE("device", "*loader", "file", .rights = READ),
	VALUE("device", NULL, "romfile", .rights = READ),
	VALUE("device", "virtio-input-host*", "evdev", .rights = DEVICE),
	VALUE("device", "vhost-vdpa-device*", "vhostdev", .rights = DEVICE),
	VALUE("device", "vfio-*", "host", .rights = DEVICE, .special = PCI),
	VALUE("device", "vfio-*", "sysfsdev", .rights = DEVICE, .special = PCI),
	HOST("device", "vhost-vsock*", "/dev/vhost-vsock", .rights = DEVICE),
	HOST("device", "vhost-scsi*", "/dev/vhost-scsi", .rights = DEVICE),
	HOST("device", "usb-host", "/dev/bus/usb", .rights = DEVICE),
	HOST("device", "usb-host", "/sys/bus", .rights = READ),
	HOST("device", "usb-host", "/sys/devices", .rights = READ),
	HOST("device", "usb-host", "/run/udev", .rights = READ),
	HOST("device", "*-gl*", "/dev/dri", .rights = DEVICE),
	HOST("device", "*-gl*", "/sys/devices", .rights = READ),
	VALUE("tpmdev", "passthrough", "path", .rights = DEVICE),
	VALUE("tpmdev", "passthrough", "cancel-path", .rights = BOTH),
	/* disks, and directories that guests see */
	VALUE("drive blockdev", "vvfat", "dir", .rights = BOTH, .special = SHARE),
	VALUE("virtfs fsdev", NULL, "path", .rights = TREE, .special = SHARE),
	NET("drive blockdev", "nbd", CALL),
	NET("drive blockdev", "http*", CALL),
	NET("drive blockdev", "ftp*", CALL),
	NET("drive blockdev", "ssh", CALL),
	NET("drive blockdev", "iscsi", CALL),
	NET("drive blockdev", "nfs", CALL),
	NET("drive blockdev", "rbd", CALL),
	NET("drive blockdev", "gluster*", CALL),
	HOST("drive blockdev", "rbd", "/etc/ceph", .rights = READ),
	/* networks */
	HOST(NETS, "tap", "/dev/net/tun", .rights = DEVICE),
	HOST(NETS, "tap", "/dev/vhost-net", .rights = DEVICE),
	HOST(NETS, "bridge", "/dev/net/tun", .rights = DEVICE),
	HOST(NETS, "bridge", "/dev/vhost-net", .rights = DEVICE),
	HOST(NETS, "tap", "/etc/qemu-ifup", .rights = READ | LANDLOCK_EXECUTE),
	HOST(NETS, "tap", "/etc/qemu-ifdown", .rights = READ | LANDLOCK_EXECUTE),
	VALUE(NETS, "tap", "script", .rights = READ | LANDLOCK_EXECUTE),
	VALUE(NETS, "tap", "downscript", .rights = READ | LANDLOCK_EXECUTE),
	VALUE(NETS, NULL, "helper", .rights = READ | LANDLOCK_EXECUTE),
	VALUE(NETS, "user", "tftp", .rights = READ),
	VALUE(NETS, "user", "smb", .rights = TREE, .needs = BIND),
	NET(NETS, "user", CALL),
	VALUE(NETS, "user", "hostfwd", .needs = BIND),
	VALUE(NETS, "user", "guestfwd", .needs = BIND), /* QEMU connects to itself */
	NET(NETS, "passt", BIND | CALL),
	NET(NETS, "stream", BIND | CALL),
	NET(NETS, "socket", BIND | CALL),
	NET(NETS, "dgram", BIND | CALL),
	VALUE(NETS, "stream", "addr.path", .special = SOCKET),
	VALUE(NETS, "dgram", "local.path", .special = LISTENER),
	VALUE(NETS, "vde", "sock", .rights = READ | LANDLOCK_SOCKET | LANDLOCK_REMOVE),
	VALUE(NETS, "vhost-vdpa", "vhostdev", .rights = DEVICE),
	/* channels */
	VALUE("chardev", "socket", "path", .special = SOCKET),
	VALUE("chardev", "socket", "host", .needs = BIND | CALL),
	VALUE("chardev", "socket", "port", .needs = BIND | CALL),
	VALUE("chardev", "file", "path", .rights = BOTH, .special = CREATED),
	VALUE("chardev", "file", "input-path", .rights = READ),
	VALUE("chardev", "pipe", "path", .rights = BOTH, .special = PIPE),
	VALUE("chardev", "serial", "path", .rights = DEVICE),
	VALUE("chardev", "tty", "path", .rights = DEVICE),
	VALUE("chardev", "parallel", "path", .rights = DEVICE),
	VALUE("chardev", "parport", "path", .rights = DEVICE),
	HOST("chardev", "pty", "/dev/ptmx", .rights = DEVICE),
	HOST("chardev", "pty", "/dev/pts", .rights = DEVICE),
	VALUE("chardev", NULL, "logfile", .rights = BOTH, .special = CREATED),
	VALUE("D pidfile", NULL, TYPE, .rights = BOTH, .special = CREATED),
	VALUE("trace", NULL, "file", .rights = BOTH, .special = CREATED),
	VALUE("trace", NULL, "events", .rights = READ),
	NET("incoming", "rdma:*", BIND | CALL),
	NET("incoming", "defer", BIND),
	NET("s", NULL, BIND),
	/* displays and sound */
	NET("spice", NULL, BIND),
	VALUE("spice", NULL, "addr", .special = LISTENER),
	VALUE("spice", NULL, "x509-dir", .rights = READ),
	VALUE("spice", NULL, "x509-key-file", .rights = READ),
	VALUE("spice", NULL, "x509-cert-file", .rights = READ),
	VALUE("spice", NULL, "x509-cacert-file", .rights = READ),
	VALUE("spice", NULL, "x509-dh-key-file", .rights = READ),
	VALUE("spice display", NULL, "rendernode", .rights = DEVICE),
	HOST("display", "egl*", "/dev/dri", .rights = DEVICE),
	HOST("display", "egl*", "/sys/devices", .rights = READ),
	NET("display", "dbus*", BUS),
	HOST("audiodev", "alsa", "/dev/snd", .rights = DEVICE),
	HOST("audiodev", "oss", "/dev/dsp", .rights = DEVICE),
	VALUE("audiodev", "wav", "path", .rights = BOTH, .special = CREATED),
	NET(WINDOWS, NULL, BUS | CALL),
	HOST(WINDOWS, NULL, "/dev/dri", .rights = DEVICE),
	HOST(WINDOWS, NULL, "/dev/shm", .rights = BOTH | LANDLOCK_MAKE | LANDLOCK_REMOVE),
	HOST(WINDOWS, NULL, "/dev/snd", .rights = DEVICE),
	HOST(WINDOWS, NULL, "/sys/devices", .rights = READ),
	HOST(WINDOWS, NULL, "/run/udev", .rights = READ),
	HOST(WINDOWS, NULL, "/etc/fonts", .rights = READ),
	HOST(WINDOWS, NULL, "/etc/drirc", .rights = READ),
	HOST(WINDOWS, NULL, "/etc/pulse", .rights = READ),
	HOST(WINDOWS, NULL, "/etc/alternatives", .rights = READ),
	HOST(WINDOWS, NULL, "/var/cache/fontconfig", .rights = READ),
	HOST(WINDOWS, NULL, "/var/lib/dbus/machine-id", .rights = READ),
	HOST(WINDOWS, NULL, "/etc/machine-id", .rights = READ),
	HOST(WINDOWS, NULL, "$XAUTHORITY", .rights = READ),
	HOST(WINDOWS, NULL, "$XDG_RUNTIME_DIR", .rights = BOTH | LANDLOCK_MAKE | LANDLOCK_REMOVE),
	HOST(WINDOWS, NULL, "~/.Xauthority", .rights = READ),
	HOST(WINDOWS, NULL, "~/.config/pulse", .rights = READ),
	HOST(WINDOWS, NULL, "~/.config/fontconfig", .rights = READ),
	HOST(WINDOWS, NULL, "~/.config/gtk-3.0", .rights = READ),
	HOST(WINDOWS, NULL, "~/.config/dconf", .rights = READ),
	HOST(WINDOWS, NULL, "~/.local/share", .rights = READ),
	HOST(WINDOWS, NULL, "~/.cache/mesa_shader_cache", .rights = TREE),
	HOST(WINDOWS, NULL, "~/.cache/fontconfig", .rights = TREE),
};

/* The older form of channels: "file:PATH", "unix:PATH,server=on"; -vnc and -display have two. */
static const struct prefix {
	const char *text;
	unsigned rights;
	enum special special;
	unsigned needs;
} prefixes[] = {
	{"file:", BOTH, CREATED, 0},	    {"unix:", 0, SOCKET, 0},
	{"pipe:", BOTH, PIPE, 0},	    {"/dev/", DEVICE, PLAIN, 0},
	{"tcp:", 0, PLAIN, BIND | CALL},    {"telnet:", 0, PLAIN, BIND | CALL},
	{"tn3270:", 0, PLAIN, BIND | CALL}, {"websocket:", 0, PLAIN, BIND | CALL},
};
static const char channels[] =
	"serial parallel monitor qmp qmp-pretty debugcon virtioconsole gdb incoming";

/* ---- values ---- */

struct adding {
	struct confinement *c;
	const struct confine_use *use;
	const char *why;
	json_t *value;
};

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = words; (p = strstr(p, word)); p += len)
		if ((p == words || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
	return false;
}

static void add(const struct adding *a, const char *path, unsigned rights)
{
	confine_add(a->c, a->use->home, path, rights, a->why);
}

static void add_created(const struct adding *a, const char *path, unsigned rights)
{
	struct confine_rule *rule = confine_add(a->c, a->use->home, path, rights, a->why);

	if (rule)
		rule->create = true;
}

/* Where QEMU makes a socket, after it has removed an old one. */
static void add_socket(const struct adding *a, const char *path)
{
	char *copy = xstrdup(path);

	add(a, dirname(copy), LANDLOCK_SOCKET | LANDLOCK_REMOVE);
	free(copy);
}

static void add_connected(const struct adding *a, const char *path)
{
	struct confine_rule *rule = confine_add(a->c, a->use->home, path, 0, a->why);

	if (rule)
		rule->connects = true;
}

static void add_pipe(const struct adding *a, const char *path, unsigned rights)
{
	static const char *const ends[] = {"", ".in", ".out"};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		char *end = xasprintf("%s%s", path, ends[i]);

		add(a, end, rights);
		free(end);
	}
}

/* "0000:01:00.0", or its directory in /sys. */
static void add_pci(const struct adding *a, const char *device)
{
	char *path = device[0] == '/'
			     ? xstrdup(device)
			     : xasprintf("/sys/bus/pci/devices/%s%s",
					 strchr(device, ':') == strrchr(device, ':') ? "0000:" : "",
					 device);
	char *link = xasprintf("%s/iommu_group", path), *real = realpath(path, NULL);
	char *group = realpath(link, NULL), *node;

	add(a, "/dev/vfio/vfio", DEVICE);
	add(a, "/dev/vfio/devices", DEVICE);
	add(a, real ? real : path, BOTH);
	node = group ? xasprintf("/dev/vfio/%s", strrchr(group, '/') + 1) : NULL;
	if (node)
		add(a, node, DEVICE);
	if (group)
		add(a, group, READ);
	free(node);
	free(group);
	free(real);
	free(link);
	free(path);
}

static void add_memory(const struct adding *a, const char *path, unsigned rights)
{
	struct stat st;
	bool dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);

	if (dir)
		add(a, path, rights | LANDLOCK_MAKE | LANDLOCK_REMOVE);
	else
		add_created(a, path, rights);
}

static void add_value(const struct adding *a, const char *path, unsigned rights,
		      enum special special)
{
	bool read_only = node_is_on(a->value, "readonly") || node_is_on(a->value, "read-only");

	switch (special) {
	case PLAIN:
		add(a, path, rights);
		break;
	case CREATED:
		add_created(a, path, rights);
		break;
	case SOCKET:
		if (node_is_on(a->value, "server"))
			add_socket(a, path);
		else
			add_connected(a, path);
		break;
	case LISTENER:
		add_socket(a, path);
		break;
	case PIPE:
		add_pipe(a, path, rights);
		break;
	case MEMORY:
		add_memory(a, path, rights);
		break;
	case SHARE:
		add(a, path, read_only ? READ : rights);
		break;
	case PCI:
		add_pci(a, path);
		break;
	}
}

/* ---- options ---- */

/* A value by its key, which may have dots: a string, or NULL. *there: it is there at all. */
static const char *find(json_t *object, const char *key, bool *there)
{
	char *copy = xstrdup(key), *rest = copy, *name;

	while ((name = strsep(&rest, ".")))
		object = json_object_get(object, name);
	free(copy);
	*there = object != NULL;
	return json_string_value(object);
}

/* What an option is of: its leading word, or what JSON calls it. */
static const char *type_of(json_t *value)
{
	static const char *const keys[] = {TYPE, "driver", "qom-type", "backend", "fsdriver"};
	const char *type = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && !type; i++)
		type = node_text(value, keys[i]);
	return type ? type : "";
}

/* "$VARIABLE" and "~/FILE" are those of our user; malloc'd, or NULL. */
static char *expand(const char *path)
{
	const char *home = getenv("HOME");

	if (path[0] == '$')
		return getenv(path + 1) ? xstrdup(getenv(path + 1)) : NULL;
	if (path[0] == '~')
		return home ? xasprintf("%s%s", home, path + 1) : NULL;
	return xstrdup(path);
}

static void take_row(const struct adding *a, const struct row *row, json_t *value)
{
	bool there = true;
	const char *given = row->key ? find(value, row->key, &there) : NULL;
	char *path = row->path ? expand(row->path) : NULL;

	if (there)
		a->c->limits &= ~row->needs;
	if (path)
		add_value(a, path, row->rights, row->special);
	else if (given && *given && (row->rights || row->special))
		add_value(a, given, row->rights, row->special);
	free(path);
}

static void take_rows(const struct adding *a, const char *option, json_t *value)
{
	const char *type = type_of(value);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (has_word(rows[i].options, option) &&
		    (!rows[i].type || fnmatch(rows[i].type, type, 0) == 0))
			take_row(a, &rows[i], value);
}

/* "mon:unix:PATH,server=on" */
static void take_channel(const struct adding *a, const char *option, const char *text)
{
	bool listens = strcmp(option, "incoming") == 0;
	char *word;

	if (strncmp(text, "mon:", 4) == 0)
		text += 4;
	word = xasprintf("%.*s", (int)strcspn(text, ","), text);
	if (strcmp(word, "pty") == 0) {
		add(a, "/dev/ptmx", DEVICE);
		add(a, "/dev/pts", DEVICE);
	}
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		const struct prefix *p = &prefixes[i];
		size_t len = strlen(p->text);

		if (strncmp(word, p->text, len) != 0)
			continue;
		a->c->limits &= ~p->needs;
		if (p->rights || p->special)
			add_value(a, word + (p->special ? len : 0), p->rights,
				  listens && p->special == SOCKET ? LISTENER : p->special);
	}
	free(word);
}

/* "unix:PATH", "HOST:DISPLAY", "none" */
static void take_vnc(const struct adding *a, const char *where)
{
	if (strncmp(where, "unix:", 5) == 0)
		add_socket(a, where + 5);
	else if (strcmp(where, "none") != 0)
		a->c->limits &= ~(BIND | CALL); /* "reverse" connects */
}

static void take_display(const struct adding *a, const char *option, json_t *value)
{
	static const char *const windows[] = {"gtk*", "sdl*", "cocoa", "spice-app*"};
	static const char *const sounds[] = {"pa", "pipewire", "sdl", "jack"};
	const char *type = type_of(value), *vnc = node_text(value, "vnc");

	if (strcmp(option, "vnc") == 0)
		take_vnc(a, type);
	if (strcmp(option, "display") == 0 && vnc)
		take_vnc(a, vnc);
	for (size_t i = 0; strcmp(option, "display") == 0 && i < ARRAY_SIZE(windows); i++)
		if (fnmatch(windows[i], type, 0) == 0)
			take_rows(a, WINDOWS, value);
	for (size_t i = 0; strcmp(option, "audiodev") == 0 && i < ARRAY_SIZE(sounds); i++)
		if (strcmp(sounds[i], type) == 0)
			take_rows(a, WINDOWS, value);
}

/* "-machine accel=kvm:tcg" */
static void take_accel(const struct adding *a, json_t *value)
{
	const char *accel = node_text(value, "accel");

	if (accel && strstr(accel, "kvm"))
		add(a, "/dev/kvm", DEVICE);
}

/* The drivers of all nodes in a node; an image on a server. */
static void take_nodes(const struct adding *a, const char *option, json_t *node)
{
	const char *key;
	json_t *child;
	size_t i;

	if (json_is_object(node))
		take_rows(a, option, node);
	json_object_foreach(node, key, child) take_nodes(a, option, child);
	json_array_foreach(node, i, child) take_nodes(a, option, child);
}

/* "nbd://HOST/x" of -drive, -hda, -cdrom. */
static void take_url(const struct adding *a, const char *text)
{
	if (strstr(text, "://") || strstr(text, "nbd:") || strstr(text, "rbd:"))
		a->c->limits &= ~CALL;
}

static void take_option(struct adding *a, const char *option, const char *text)
{
	bool image = has_word("drive blockdev hda hdb hdc hdd cdrom", option);

	a->value = option_parse(text, TYPE);
	if (has_word(channels, option))
		take_channel(a, option, text);
	if (image)
		take_url(a, text);
	if (image)
		take_nodes(a, option, a->value);
	else
		take_rows(a, option, a->value);
	take_display(a, option, a->value);
	if (has_word("machine M", option))
		take_accel(a, a->value);
	json_decref(a->value);
	a->value = NULL;
}

void confine_options(struct confinement *c, const struct confine_use *use)
{
	struct adding a = {.c = c, .use = use};

	for (const char *const *arg = use->argv + 1; *arg; arg++) {
		if (arg[0][0] != '-' || !arg[0][1])
			continue;
		a.why = *arg;
		take_option(&a, *arg + 1 + (arg[0][1] == '-'), arg[1] ? arg[1] : "");
	}
}
