/* What a VM's records say of its past ends, in numbers. */
#ifndef STOPS_H
#define STOPS_H

#include <stdint.h>

#define STOPS_STATUSES 256

struct stops {
	unsigned by_status[STOPS_STATUSES]; /* how many ended with that exit status */
	double seconds;			    /* that the last stop took; -1: not known */
};

/* Reads them in home, a VM's open state directory, or -1; of no records, there is nothing. */
void stops_read(int home, struct stops *stops);

#endif
