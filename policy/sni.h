/* The server name of a TLS ClientHello, read by OpenSSL from any number of pieces. */
#ifndef BERTH_POLICY_SNI_H
#define BERTH_POLICY_SNI_H

#include <stddef.h>

struct sni;

struct sni *sni_new(void);
void sni_free(struct sni *s);
/*
 * The next bytes of the stream. 1: name is filled (normal form); 0: more is needed; -ENOENT: a
 * ClientHello without a server name; -EPROTO: no ClientHello, or a name that is none. The end after
 * anything but 0.
 */
int sni_feed(struct sni *s, const void *data, size_t n, char name[256]);

#endif
