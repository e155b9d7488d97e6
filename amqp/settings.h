/* What vmconf-amqp is told: by options, or by the same names in the JSON file of --config. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/* The two topologies: who sends what to which queue (vmconf-amqp.8). */
enum topology { TOPOLOGY_QUEUE, TOPOLOGY_DIRECT };

/* The strings are malloc'd; settings_free(). */
struct settings {
	char *config; /* a file with more of them, or NULL */
	char *url;
	char *name; /* this host's, in its queue and in its answers */
	int topology;
	char *password_file, *ca, *cert, *key; /* each may be NULL */
	int64_t max_memory;		       /* MiB of all VMs together; -1: any */
	int64_t max_vms;		       /* -1: any number */
};

/*
 * Reads the command line, and the file of --config, which it overrides. Exits with EX_USAGE or
 * EX_CONFIG if either is wrong, with 0 after --help and --version.
 */
void settings_read(struct settings *settings, int argc, char **argv);
void settings_free(struct settings *settings);

/*
 * The password: the first line of the file that is set, malloc'd; NULL if none is set. It is read
 * again for each connection. *why is a malloc'd reason, else NULL, if the file cannot be read, or
 * if others than root and us can.
 */
char *settings_password(const struct settings *settings, char **why);

#endif
