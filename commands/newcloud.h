/* What vmconf create tells cloud-init in a new VM: its options, and what is there without them. */
#ifndef NEWCLOUD_H
#define NEWCLOUD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define NEWCLOUD_DATA "user-data" /* its copy in the VM's state directory */

/* Zero-initialise it; newcloud_free(). */
struct newcloud {
	json_t *keys;	 /* public keys, or NULL */
	bool keys_given; /* an option said which, or none */
	json_t *options; /* the definition's keys from others; or NULL */
	char *data;	 /* user-data, or NULL */
	size_t data_len;
	const char *user; /* whom the image lets in, as we chose; NULL: the caller has said */
};

/* Options; a wrong value exits with EX_USAGE. */
void newcloud_ssh_key(struct newcloud *cloud, const char *file);
void newcloud_user_data(struct newcloud *cloud, const char *file);
void newcloud_key(struct newcloud *cloud, const char *key, const char *text);

/* Adds "cloud-init" to a definition, if an option asked for it or there is an image (NULL: none).
 */
void newcloud_add(struct newcloud *cloud, json_t *definition, const char *image);

/* The caller may have said more since: whoever says vendor-data also says the user there. */
void newcloud_settle(const struct newcloud *cloud, json_t *definition);

/* Warns if nobody could log in to a VM with this definition. */
void newcloud_warn(const struct newcloud *cloud, json_t *definition);

/* Writes the copy of user-data, if there is any. False: logged. */
bool newcloud_write(const struct newcloud *cloud, const char *home);

void newcloud_free(struct newcloud *cloud);

#endif
