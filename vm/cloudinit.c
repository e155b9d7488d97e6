#include "vm/cloudinit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/fat.h"
#include "vm/ownfile.h"
#include "vm/problem.h"
#include "vm/vm.h"

#define FILES_MAX 4

/* The files of the volume; all are malloc'd. */
struct seed {
	struct fat_file files[FILES_MAX];
	size_t count;
};

char *cloudinit_path(const struct vm *vm)
{
	return xasprintf("%s/" CLOUD_VOLUME, vm->home);
}

/* ---- what cloud-init takes for user-data ---- */

/* It ignores, with a line in its log in the guest, what begins in another way. The first is YAML.
 */
static const char *const beginnings[] = {
	"#cloud-config", "#!",		 "#include",	  "#cloud-boothook",
	"#part-handler", "## template:", "Content-Type:", "MIME-Version:",
	"#upstart-job",	 "\x1f\x8b",
};

/* Whether a line, without its end, may be the first of a mapping in YAML. */
static bool is_of_mapping(const char *line, size_t len)
{
	const char *end = line + len;

	if (*line == '{' || *line == '?' || *line == '&' || *line == '!')
		return true;
	for (const char *p = line; (p = memchr(p, ':', (size_t)(end - p))); p++)
		if (p + 1 == end || p[1] == ' ' || p[1] == '\t')
			return *line != '-' && *line != '[';
	return false;
}

/* What cloud-config is most often instead of YAML; whether it is YAML otherwise, the guest says. */
static char *config_wrong(const char *data)
{
	bool begun = false;
	size_t len, blank;

	for (size_t i = 1; *data; i++, data += len, data += *data == '\n') {
		len = strcspn(data, "\n");
		blank = strspn(data, " \t\r");
		if (*data == '\t' && blank < len)
			return xasprintf(
				"begins line %zu with a tab, where YAML takes spaces alone", i);
		if (begun || blank == len || data[blank] == '#' || *data == '%' ||
		    strncmp(data, "---", 3) == 0)
			continue;
		begun = true;
		if (!is_of_mapping(data + blank, len - blank - (data[len - 1] == '\r')))
			return xasprintf("has no \"KEY: VALUE\" in line %zu, as #cloud-config "
					 "needs it: cloud-init would ignore the file",
					 i);
	}
	return NULL;
}

char *cloudinit_data_wrong(const char *data)
{
	char *line, *quoted;
	json_t *first;

	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
		if (strncmp(data, beginnings[i], strlen(beginnings[i])) == 0)
			return i == 0 ? config_wrong(data) : NULL;
	if (strstr(data, "PRIVATE KEY"))
		return xstrdup("begins with a private key, expected the line #cloud-config");
	line = xasprintf("%.*s", (int)strcspn(data, "\r\n"), data);
	first = json_string(line);
	quoted = first ? problem_quote(first) : xstrdup("what is no text");
	json_decref(first);
	free(line);
	line = xasprintf("begins with %s, expected the line #cloud-config, or another that "
			 "cloud-init knows (#!, #include, ...): it would ignore the file",
			 quoted);
	free(quoted);
	return line;
}

/* ---- the volume's files ---- */

/* Takes data. */
static void add(struct seed *seed, const char *name, const char *data, size_t len)
{
	seed->files[seed->count++] = (struct fat_file){.name = name, .data = data, .len = len};
}

static void seed_free(struct seed *seed)
{
	for (size_t i = 0; i < seed->count; i++)
		free((char *)seed->files[i].data);
	*seed = (struct seed){0};
}

/* A host name has no "_", which a VM's name may have. */
static char *host_name(const struct vm *vm)
{
	char *name = xstrdup(vm->cloud.hostname ? vm->cloud.hostname : vm->name);

	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = '-';
	return name;
}

/* JSON is YAML. */
static void add_meta_data(struct seed *seed, const struct vm *vm)
{
	char *uuid = vm_uuid(vm), *host = host_name(vm), *text;
	const char *id = vm->cloud.instance_id ? vm->cloud.instance_id : uuid;
	json_t *data = xcheck(json_pack("{s:s, s:s}", "instance-id", id, "local-hostname", host));
	json_t *keys = xcheck(json_array());

	for (const char **key = vm->cloud.ssh_keys; key && *key; key++)
		json_array_append_new(keys, xcheck(json_string(*key)));
	if (json_array_size(keys) > 0)
		json_object_set(data, "public-keys", keys);
	text = xcheck(json_dumps(data, JSON_INDENT(2)));
	add(seed, "meta-data", text, strlen(text));
	json_decref(keys);
	json_decref(data);
	free(host);
	free(uuid);
}

/* The user is ours to tell where user-data is not: user-data says more than vendor-data. */
static void add_user(struct seed *seed, const struct vm *vm)
{
	char *text = xasprintf("#cloud-config\nuser: %s\n", vm->cloud.user);

	add(seed, "vendor-data", text, strlen(text));
}

static bool add_file(struct seed *seed, const struct vm *vm, const char *key, const char *path,
		     bool judged, char **why)
{
	size_t len;
	char *unread = NULL, *wrong, *data = ownfile_read(vm, path, &len, &unread);

	if (!data) {
		*why = xasprintf("cloud-init.%s: %s", key, unread);
		free(unread);
		return false;
	}
	wrong = judged ? cloudinit_data_wrong(data) : NULL;
	if (!wrong) {
		add(seed, key, data, len);
		return true;
	}
	*why = xasprintf("cloud-init.%s: %s %s", key, path, wrong);
	free(wrong);
	free(data);
	return false;
}

/* NoCloud wants meta-data and user-data, even with nothing in it. */
static bool collect(struct seed *seed, const struct vm *vm, char **why)
{
	const struct vm_cloud *cloud = &vm->cloud;
	static const char none[] = "#cloud-config\n";
	bool good = true;

	add_meta_data(seed, vm);
	if (cloud->user_data)
		good = add_file(seed, vm, "user-data", cloud->user_data, true, why);
	else
		add(seed, "user-data", xstrdup(none), strlen(none));
	if (good && cloud->vendor_data)
		good = add_file(seed, vm, "vendor-data", cloud->vendor_data, true, why);
	else if (cloud->user)
		add_user(seed, vm);
	if (good && cloud->network_config)
		good = add_file(seed, vm, "network-config", cloud->network_config, false, why);
	return good;
}

/* ---- all of it ---- */

bool cloudinit_check(const struct vm *vm, char **why)
{
	struct seed seed = {0};
	bool good = !vm->cloud.there || collect(&seed, vm, why);

	seed_free(&seed);
	return good;
}

/* Not synced: it is made again at each start. */
static bool write_image(const char *home, const unsigned char *image, size_t len)
{
	int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, error;
	bool written;

	if (dir >= 0)
		fd = safefile_create(dir, CLOUD_VOLUME_NEW);
	written = fd >= 0 && safefile_write(fd, (const char *)image, len) &&
		  renameat(dir, CLOUD_VOLUME_NEW, dir, CLOUD_VOLUME) == 0;
	error = errno;
	if (fd >= 0 && !written)
		unlinkat(dir, CLOUD_VOLUME_NEW, 0);
	fd_close(&fd);
	fd_close(&dir);
	errno = error;
	return written;
}

/* What a definition no longer tells is not left lying about: user-data may have a password. */
static void remove_image(const struct vm *vm)
{
	char *path = cloudinit_path(vm);

	unlink(path);
	free(path);
}

bool cloudinit_make(const struct vm *vm, char **why)
{
	struct seed seed = {0};
	unsigned char *image;
	size_t len;
	bool made;

	if (!vm->cloud.there) {
		remove_image(vm);
		return true;
	}
	made = collect(&seed, vm, why);
	if (made) {
		image = fat_image("cidata", seed.files, seed.count, &len);
		made = write_image(vm->home, image, len);
		if (!made)
			*why = xasprintf("cannot write %s/" CLOUD_VOLUME ": %s", vm->home,
					 strerror(errno));
		free(image);
	}
	seed_free(&seed);
	return made;
}
