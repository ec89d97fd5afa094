/* For berth doctor: what lies in the state folder and belongs to nobody. */
#ifndef BERTH_DOCTOR_LEFTOVERS_H
#define BERTH_DOCTOR_LEFTOVERS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * How many there are, and in `first` which the first is and what about it. Up: berthd says so
 * (leftovers.h). Otherwise nobody serves the folder, and these are what its next start takes back
 * or removes: machines that ran on, and files half made.
 */
int doctor_leftovers(const char *state, bool *ret_up, char *first, size_t size);

#endif
