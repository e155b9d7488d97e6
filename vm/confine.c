#include "vm/confine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/elf.h"
#include "lib/program.h"
#include "lib/xalloc.h"
#include "vm/basedon.h"
#include "vm/confineoptions.h"
#include "vm/files.h"
#include "vm/vmneeds.h"

#define BOTH	(LANDLOCK_READ | LANDLOCK_WRITE)
#define PROGRAM (LANDLOCK_READ | LANDLOCK_EXECUTE)
#define ALL	(BOTH | LANDLOCK_DEVICE | LANDLOCK_TREE)
#define ALL_LIMITS                                                                                 \
	(LANDLOCK_NO_BIND | LANDLOCK_NO_CONNECT | LANDLOCK_NO_ABSTRACT | LANDLOCK_NO_SIGNALS)

/* ---- what every QEMU needs, and the programs beside it ---- */

/* Libraries, firmware, what a C library reads of the host, and devices without a state. */
static const struct {
	const char *path;
	unsigned rights;
} host[] = {
	{"/lib", LANDLOCK_READ},
	{"/lib32", LANDLOCK_READ},
	{"/lib64", LANDLOCK_READ},
	{"/usr/lib", LANDLOCK_READ},
	{"/usr/lib32", LANDLOCK_READ},
	{"/usr/lib64", LANDLOCK_READ},
	{"/usr/libexec", LANDLOCK_READ},
	{"/usr/share", LANDLOCK_READ},
	{"/usr/local/lib", LANDLOCK_READ},
	{"/usr/local/share", LANDLOCK_READ},
	{"/nix/store", LANDLOCK_READ},
	{"/gnu/store", LANDLOCK_READ},
	{"/etc/ld.so.cache", LANDLOCK_READ},
	{"/etc/ld.so.preload", LANDLOCK_READ},
	{"/etc/qemu", LANDLOCK_READ},
	{"/etc/localtime", LANDLOCK_READ},
	{"/etc/nsswitch.conf", LANDLOCK_READ},
	{"/etc/passwd", LANDLOCK_READ},
	{"/etc/group", LANDLOCK_READ},
	{"/etc/hosts", LANDLOCK_READ},
	{"/etc/host.conf", LANDLOCK_READ},
	{"/etc/gai.conf", LANDLOCK_READ},
	{"/etc/resolv.conf", LANDLOCK_READ},
	{"/etc/services", LANDLOCK_READ},
	{"/etc/protocols", LANDLOCK_READ},
	{"/etc/ssl/certs", LANDLOCK_READ},
	{"/etc/ssl/openssl.cnf", LANDLOCK_READ},
	{"/etc/pki/tls/certs", LANDLOCK_READ},
	{"/etc/ca-certificates", LANDLOCK_READ},
	{"/etc/gnutls/config", LANDLOCK_READ},
	{"/etc/crypto-policies", LANDLOCK_READ},
	{"/run/systemd/resolve", LANDLOCK_READ},
	{"/proc/self", LANDLOCK_READ},
	{"/proc/cpuinfo", LANDLOCK_READ},
	{"/proc/meminfo", LANDLOCK_READ},
	{"/proc/stat", LANDLOCK_READ},
	{"/proc/filesystems", LANDLOCK_READ},
	{"/proc/sys/fs/file-max", LANDLOCK_READ},
	{"/proc/sys/fs/nr_open", LANDLOCK_READ},
	{"/proc/sys/vm", LANDLOCK_READ},
	{"/sys/devices/system", LANDLOCK_READ},
	{"/sys/kernel/mm", LANDLOCK_READ},
	{"/sys/module", LANDLOCK_READ},
	{"/dev/null", BOTH},
	{"/dev/zero", BOTH},
	{"/dev/random", LANDLOCK_READ},
	{"/dev/urandom", LANDLOCK_READ},
};

/* Where the programs that QEMU starts, and those that they start, may be. */
static const char *const programs[] = {"/usr",	 "/bin",       "/sbin",	    "/lib",
				       "/lib64", "/nix/store", "/gnu/store"};

#define WHY_QEMU "QEMU"

/* A QEMU that is installed elsewhere has its files beside it. */
static void add_neighbours(struct confinement *c, const char *emulator)
{
	static const char *const names[] = {"lib", "lib64", "libexec", "share", "pc-bios"};
	char *real = realpath(emulator, NULL), *slash = real ? strrchr(real, '/') : NULL;

	if (slash)
		*slash = '\0';
	slash = slash ? strrchr(real, '/') : NULL;
	for (size_t i = 0; slash && slash > real && i < ARRAY_SIZE(names); i++) {
		char *path = xasprintf("%.*s/%s", (int)(slash - real), real, names[i]);

		if (access(path, F_OK) == 0)
			confine_add(c, "", path, LANDLOCK_READ, WHY_QEMU);
		free(path);
	}
	free(real);
}

/* False: it is a script, or not there. */
static bool add_program(struct confinement *c, const char *home, const char *program)
{
	char *path = program_find(program), *loader = NULL;
	bool known = path && elf_read(path, &loader);

	if (path)
		confine_add(c, home, path, PROGRAM, WHY_QEMU);
	if (loader)
		confine_add(c, "/", loader, PROGRAM, WHY_QEMU);
	if (known)
		add_neighbours(c, path);
	free(loader);
	free(path);
	return known;
}

static void add_host(struct confinement *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(host); i++)
		confine_add(c, "", host[i].path, host[i].rights, WHY_QEMU);
	for (size_t i = 0; i < ARRAY_SIZE(programs) && c->programs; i++)
		confine_add(c, "", programs[i], PROGRAM, "programs");
}

/* ---- what this one needs ---- */

static unsigned rights_of(const struct file *file)
{
	struct stat st;
	bool device = stat(file->path, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));

	return LANDLOCK_READ | (file->written ? LANDLOCK_WRITE : 0) |
	       (device ? LANDLOCK_DEVICE : 0);
}

/* QEMU reads what the kernel says of a block device, such as its limits. */
static void add_disk(struct confinement *c, const struct file *file, const char *why)
{
	unsigned rights = rights_of(file);

	confine_add(c, "", file->path, rights, why);
	if (!(rights & LANDLOCK_DEVICE))
		return;
	confine_add(c, "", "/sys/dev/block", LANDLOCK_READ, why);
	confine_add(c, "", "/sys/devices", LANDLOCK_READ, why);
}

/* An image may have been written by whoever took over QEMU: only what is not doubtful counts. */
static void add_disks(struct confinement *c, const struct confine_use *use)
{
	struct files named = {0}, defined = {0};

	files_add_command(&named, use->argv, use->home);
	if (use->vm)
		files_add_definition(&defined, use->vm->all, use->vm->home);
	for (size_t i = 0; i < named.count; i++)
		if (named.v[i].part != FILE_NAMED && !named.v[i].by_image)
			add_disk(c, &named.v[i], "disks");
	for (size_t i = 0; i < defined.count; i++)
		if (defined.v[i].part != FILE_NAMED && !file_is_doubtful(use->vm, &defined.v[i]))
			add_disk(c, &defined.v[i], "disks");
	files_free(&defined);
	files_free(&named);
}

/* Snapshots are made in its own directory; and QEMU removes its sockets when it ends. */
static void add_own(struct confinement *c, const struct confine_use *use)
{
	char *images = use->vm ? xasprintf("%s/../images", use->vm->home) : NULL;

	if (use->vm)
		confine_add(c, "", use->vm->home, BOTH | LANDLOCK_MAKE, "state directory");
	if (images)
		confine_add(c, "", images, LANDLOCK_READ, "base images");
	free(images);
	if (use->runtime)
		confine_add(c, "", use->runtime, LANDLOCK_REMOVE, "runtime directory");
}

static void add_more(struct confinement *c, const struct confine_use *use)
{
	const struct {
		const char *const *paths;
		unsigned rights;
	} rows[] = {
		{use->confine->read, LANDLOCK_READ | LANDLOCK_DEVICE},
		{use->confine->write, ALL},
		{use->confine->execute, PROGRAM},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (const char *const *path = rows[i].paths; path && *path; path++)
			confine_add(c, use->home, *path, rows[i].rights, CONFINE_MORE);
}

static const char *why_not(const struct confine_use *use, bool known, const struct vm_needs *needs)
{
	if (!use->confine->on)
		return "the definition says \"confine\": false";
	if (!known && !use->confine->chosen)
		return "its emulator is not QEMU itself, and may need anything; \"confine\": true "
		       "confines it";
	if (needs->setuid && geteuid() != 0)
		return "it starts a helper that may be setuid, for a nic, which confinement would "
		       "break";
	return NULL;
}

const char *confine_why_not(const struct confine_use *use)
{
	const struct vm_needs needs = vm_needs_of(use->argv + 1);
	struct confinement c = {0};
	const char *why = why_not(use, add_program(&c, use->home, use->argv[0]), &needs);

	confine_free(&c);
	return why;
}

void confine_make(struct confinement *c, const struct confine_use *use)
{
	const struct vm_needs needs = vm_needs_of(use->argv + 1);
	bool known;

	*c = (struct confinement){.limits = ALL_LIMITS};
	known = add_program(c, use->home, use->argv[0]);
	c->programs = needs.programs || !known;
	c->why_not = why_not(use, known, &needs);
	if (c->why_not)
		return;
	add_host(c);
	add_disks(c, use);
	confine_options(c, use);
	add_own(c, use);
	add_more(c, use);
}

void confine_make_beside(struct confinement *c, const char *program)
{
	*c = (struct confinement){.limits = ALL_LIMITS};
	c->programs = !add_program(c, ".", program);
	add_host(c);
}

/* ---- what a failure means ---- */

/* The last absolute path in a message, malloc'd, or NULL: what comes before says what needs it. */
static char *path_in(const char *message)
{
	char *found = NULL;

	for (const char *p = strchr(message, '/'); p; p = strchr(p + 1, '/')) {
		const char before = (char)(p > message ? p[-1] : ' ');
		bool quoted = strchr("'\"`", before);
		size_t len = strcspn(p, quoted ? "'\"" : " ,;:)'\"\n");

		if (len <= 1 || (!quoted && !strchr(" :=(,", before)))
			continue;
		free(found);
		found = xasprintf("%.*s", (int)len, p);
	}
	return found;
}

static char *explain_path(const struct confinement *c, const char *path)
{
	if (!confine_allows(c, path, LANDLOCK_READ))
		return xasprintf("confined: %s is not in the definition; add it to confine.read, "
				 "or confine.write",
				 path);
	if (!confine_allows(c, path, BOTH))
		return xasprintf("confined: %s may only be read; add it to confine.write", path);
	return NULL;
}

/* Connecting to a socket that has a path needs no rule. */
static char *explain_connect(const struct confinement *c, bool has_path)
{
	bool may = has_path || c->why_not || !(c->limits & LANDLOCK_NO_CONNECT);

	return may ? NULL
		   : xstrdup("confined: nothing in the definition connects by TCP, so QEMU may "
			     "not; a Unix socket needs no right");
}

/* Some devices do not say why they could not read a file. */
static bool may_be_refused(const char *path)
{
	return path && access(path, R_OK) == 0;
}

char *confine_explain(const struct confine_use *use, const char *message)
{
	bool refused = strstr(message, "Permission denied");
	bool connects = refused && strstr(message, "Failed to connect");
	char *path = path_in(message), *text = NULL;
	struct confinement c;

	if (connects || (refused && path) || may_be_refused(path)) {
		confine_make(&c, use);
		text = connects ? explain_connect(&c, path) : explain_path(&c, path);
		confine_free(&c);
	}
	free(path);
	return text;
}
