/* How fast this host's time stamp counter runs. */
#ifndef BERTH_HOST_TSC_H
#define BERTH_HOST_TSC_H

/* In kHz, measured once (20 ms) against CLOCK_MONOTONIC_RAW; 0 on a machine without one. */
unsigned long host_tsc_khz(void);

#endif
