#include "commands/newcloud.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands/publickeys.h"
#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/cloudinit.h"

static json_t *options_of(struct newcloud *cloud)
{
	if (!cloud->options)
		cloud->options = xcheck(json_object());
	return cloud->options;
}

void newcloud_ssh_key(struct newcloud *cloud, const char *file)
{
	if (!cloud->keys)
		cloud->keys = xcheck(json_array());
	cloud->keys_given = true;
	if (strcmp(file, "none") != 0 && !publickeys_of_file(cloud->keys, file))
		exit(EX_USAGE);
}

void newcloud_user_data(struct newcloud *cloud, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *wrong;

	free(cloud->data);
	cloud->data = fd >= 0 ? safefile_read(fd, &cloud->data_len) : NULL;
	if (!cloud->data && errno == EFBIG)
		fatalx(EX_USAGE, "--user-data %s: it has more than 1 MiB", file);
	if (!cloud->data && errno == EINVAL)
		fatalx(EX_USAGE, "--user-data %s: it is not a file", file);
	if (!cloud->data)
		fatal(EX_USAGE, "--user-data %s: cannot read it", file);
	fd_close(&fd);
	wrong = cloudinit_data_wrong(cloud->data);
	if (wrong)
		fatalx(EX_USAGE, "--user-data %s: it %s", file, wrong);
	json_object_set_new(options_of(cloud), "user-data", xcheck(json_string(NEWCLOUD_DATA)));
}

void newcloud_key(struct newcloud *cloud, const char *key, const char *text)
{
	json_object_set_new(options_of(cloud), key, xcheck(json_string(text)));
}

/*
 * Whom an image lets in, by its file's name: as its own cloud-init calls that user, so that "vmconf
 * ssh" knows the name, too. Any name would do: cloud-init makes the user that it is told.
 */
static const char *user_of(const char *image)
{
	static const struct {
		const char *begins, *user;
	} rows[] = {{"debian", "debian"}, {"bookworm", "debian"},   {"trixie", "debian"},
		    {"ubuntu", "ubuntu"}, {"jammy", "ubuntu"},	    {"noble", "ubuntu"},
		    {"fedora", "fedora"}, {"rocky", "rocky"},	    {"alma", "almalinux"},
		    {"cirros", "cirros"}, {"opensuse", "opensuse"}, {"arch", "arch"},
		    {"alpine", "alpine"}};
	const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strncasecmp(name, rows[i].begins, strlen(rows[i].begins)) == 0)
			return rows[i].user;
	return "cloud-user";
}

void newcloud_add(struct newcloud *cloud, json_t *definition, const char *image)
{
	json_t *added;

	if (!image && !cloud->keys_given && !cloud->options)
		return;
	if (!cloud->keys)
		cloud->keys = xcheck(json_array());
	if (!cloud->keys_given)
		publickeys_of_caller(cloud->keys);
	added = xcheck(cloud->options ? json_deep_copy(cloud->options) : json_object());
	if (json_array_size(cloud->keys) > 0)
		json_object_set(added, "ssh-keys", cloud->keys);
	if (image && json_array_size(cloud->keys) > 0 && !json_object_get(added, "user") &&
	    !json_object_get(added, "user-data")) {
		cloud->user = user_of(image);
		json_object_set_new(added, "user", xcheck(json_string(cloud->user)));
	}
	json_object_set_new(definition, "cloud-init", added);
}

void newcloud_settle(const struct newcloud *cloud, json_t *definition)
{
	json_t *told = json_object_get(definition, "cloud-init");
	const char *user = json_string_value(json_object_get(told, "user"));

	if (cloud->user && user && strcmp(user, cloud->user) == 0 &&
	    (json_object_get(told, "vendor-data") || json_object_get(told, "user-data")))
		json_object_del(told, "user");
}

/* "--ssh-key none" has said so on purpose, and user-data may let anybody in. */
void newcloud_warn(const struct newcloud *cloud, json_t *definition)
{
	json_t *added = json_object_get(definition, "cloud-init");

	if (added && !cloud->keys_given && !json_object_get(added, "ssh-keys") &&
	    !json_object_get(added, "user-data"))
		log_warnx("no public key of yours was found, in ssh-agent or in ~/.ssh/*.pub: "
			  "nobody may be able to log in to this VM; ssh-keygen makes one, "
			  "--ssh-key FILE names one, --ssh-key none says that there is to be "
			  "none");
}

bool newcloud_write(const struct newcloud *cloud, const char *home)
{
	int dir, fd = -1;
	bool written;

	if (!cloud->data)
		return true;
	dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		fd = safefile_create(dir, NEWCLOUD_DATA);
	written = fd >= 0 && safefile_write(fd, cloud->data, cloud->data_len);
	if (!written)
		log_warn("cannot write %s/" NEWCLOUD_DATA, home);
	fd_close(&fd);
	fd_close(&dir);
	return written;
}

void newcloud_free(struct newcloud *cloud)
{
	json_decref(cloud->keys);
	json_decref(cloud->options);
	free(cloud->data);
	*cloud = (struct newcloud){0};
}
