/* The number of elements in an array. */
#ifndef ARRAY_H
#define ARRAY_H

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#endif
