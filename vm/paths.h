/* The names of VMs, and the directories of their files. */
#ifndef PATHS_H
#define PATHS_H

#include <stdbool.h>

/*
 * Whether name is a valid VM name: [A-Za-z0-9][A-Za-z0-9._-]{0,63}, and not one that is reserved
 * among the VMs' files. vm_name_wrong() says why not; NULL: it is valid.
 */
bool vm_name_is_valid(const char *name);
const char *vm_name_wrong(const char *name);

/*
 * The directories of all VMs' definitions, of their disks and states, and of their runtime files:
 * from QEMU_SUPERVISE_CONFIG_DIR, ..._STATE_DIR and ..._RUNTIME_DIR; else root's own, or those of
 * the XDG base directory specification for other users. Malloc'd; NULL if neither HOME nor the XDG
 * variable is set (the runtime directory has only XDG_RUNTIME_DIR).
 */
#define PATHS_ROOT_CONFIG "/etc/qemu-supervise"
char *paths_config_dir(void);
char *paths_state_dir(void);
char *paths_runtime_dir(void);

/* mkdir -p, with mode 0755 like /run and /var/lib. False on failure, with errno. */
bool paths_make(const char *path);

/* The paths of a VM's definition and state directory. Malloc'd; NULL: neither HOME nor XDG_*. */
char *vm_file(const char *name);
char *vm_home(const char *name);

/* The names of all VMs with a definition, NULL-terminated, malloc'd and unsorted. */
char **vm_names(void);
void vm_names_free(char **names);

#endif
