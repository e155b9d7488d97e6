/* The names of VMs, and the directories where their files are. */
#ifndef PATHS_H
#define PATHS_H

#include <stdbool.h>

/*
 * Whether name may name a VM: [A-Za-z0-9][A-Za-z0-9._-]{0,63}, and nothing else beside the VMs'
 * files is called that. vm_name_wrong() tells why not; NULL: it may.
 */
bool vm_name_is_valid(const char *name);
const char *vm_name_wrong(const char *name);

/*
 * The directory of all VMs' definitions, of their disks and states, of their runtime files: the
 * environment variable QEMU_SUPERVISE_CONFIG_DIR, ..._STATE_DIR, ..._RUNTIME_DIR; else root's, or
 * that of the XDG base directory specification for everyone else. Malloc'd; NULL where neither HOME
 * nor the XDG variable is set (the runtime directory has no default but XDG_RUNTIME_DIR).
 */
#define PATHS_ROOT_CONFIG "/etc/qemu-supervise"
char *paths_config_dir(void);
char *paths_state_dir(void);
char *paths_runtime_dir(void);

/* mkdir -p, with mode 0755 as /run and /var/lib have it. False and errno on failure. */
bool paths_make(const char *path);

/* The path of a VM's definition, and of its state directory. Malloc'd; NULL: no HOME, no XDG_*. */
char *vm_file(const char *name);
char *vm_home(const char *name);

/* The names of all VMs that have a definition, NULL-terminated and malloc'd, in no order. */
char **vm_names(void);
void vm_names_free(char **names);

#endif
