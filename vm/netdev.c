#include "vm/netdev.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/words.h"
#include "lib/xalloc.h"

const char *const netdev_types[] = {
	"user",		"tap",	      "bridge", "passt",	 "stream",     "dgram",	 "socket",
	"vhost-user",	"vhost-vdpa", "l2tpv3", "vde",		 "hubport",    "netmap", "af-xdp",
	"vmnet-shared", "none",	      "nic",	"vmnet-bridged", "vmnet-host", NULL};

static const char *const lists[] = {"hostfwd",	 "guestfwd",  "dnssearch", "search",
				    "tcp-ports", "udp-ports", "param"};

/* Whether it is, or could be, the name of a bridge on this host. */
static bool is_bridge(const char *name)
{
	static const char digits[] = "0123456789";
	char *path = xasprintf("/sys/class/net/%s/bridge", name);
	bool is = !strchr(name, '/') && access(path, F_OK) == 0;
	const char *br = strstr(name, "br");

	free(path);
	return is || (br && br[2] && !br[2 + strspn(br + 2, digits)]);
}

/* In both forms, --nic and the file: the reader may have used either. */
static char *written(const char *type, const char *key, const char *value)
{
	return xasprintf("; write %s,%s=%s for it (in the file \"type\": \"%s\", \"%s\": \"%s\")",
			 type, key, value, type, key, value);
}

char *netdev_type_hint(const char *type)
{
	if (is_bridge(type))
		return written("bridge", "br", type);
	if (strncmp(type, "tap", 3) == 0 && strspn(type + 3, "0123456789") > 0)
		return written("tap", "ifname", type);
	return xstrdup(word_hint(type, netdev_types));
}

bool netdev_is_list(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (strcmp(lists[i], key) == 0)
			return true;
	return false;
}

static bool append(json_t *list, json_t *value)
{
	if (json_is_string(value))
		return json_array_append_new(list, xcheck(json_pack("{s:O}", "str", value))) == 0;
	if (json_object_size(value) != 1 || !json_is_string(json_object_get(value, "str")))
		return false;
	return json_array_append(list, value) == 0;
}

json_t *netdev_list(json_t *value)
{
	json_t *list = xcheck(json_array()), *element;
	bool good = json_is_array(value) || append(list, value);
	size_t i;

	json_array_foreach(value, i, element) good = good && append(list, element);
	if (good)
		return list;
	json_decref(list);
	return NULL;
}
