/*
 * The server name of a TLS ClientHello. OpenSSL puts records and fragments together and checks the
 * message's form; its client hello callback takes the name and ends the handshake there.
 */
#include "sni.h"
#include "bytes.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

/* Owned by its connection. */
struct sni {
	SSL *ssl;
	BIO *in; /* the ssl's */
	int result;
	char name[256];
};

/* One for the process; made at the first use. */
static SSL_CTX *context;

/* RFC 6066, section 3: a list with exactly one entry, a host_name. */
static int read_server_name(const unsigned char *data, size_t n, char name[256])
{
	struct reader r = reader_of(data, n);
	uint16_t list = read_u16be(&r);
	uint8_t type = read_u8(&r);
	uint16_t len = read_u16be(&r);
	const uint8_t *p = read_bytes(&r, len);

	if (r.bad || reader_left(&r) != 0 || list != n - 2 || type != TLSEXT_NAMETYPE_host_name)
		return -EPROTO;
	if (len > 0 &&
		p[len - 1] ==
			'.') /* the RFC has no trailing dot; servers disagree on what it means */
		return -EPROTO;
	return rule_normalise_name((const char *)p, len, name) ? 1 : -EPROTO;
}

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct sni *s = SSL_get_app_data(ssl);
	const unsigned char *data;
	size_t n;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &n))
		s->result = read_server_name(data, n, s->name);
	else
		s->result = -ENOENT;
	*alert = SSL_AD_HANDSHAKE_FAILURE;
	return SSL_CLIENT_HELLO_ERROR;
}

static SSL_CTX *get_context(void)
{
	if (!context) {
		context = SSL_CTX_new(TLS_server_method());
		if (!context)
			abort();
		SSL_CTX_set_min_proto_version(context, 0);
		SSL_CTX_set_client_hello_cb(context, on_client_hello, NULL);
	}
	return context;
}

struct sni *sni_new(void)
{
	struct sni *s = xcalloc(1, sizeof(*s));
	BIO *out = BIO_new(BIO_s_null());

	s->ssl = SSL_new(get_context());
	s->in = BIO_new(BIO_s_mem());
	if (!s->ssl || !s->in || !out)
		abort();
	BIO_set_mem_eof_return(s->in, -1);
	SSL_set_bio(s->ssl, s->in, out);
	SSL_set_app_data(s->ssl, s);
	SSL_set_accept_state(s->ssl);
	return s;
}

void sni_free(struct sni *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);
	free(s);
}

int sni_feed(struct sni *s, const void *data, size_t n, char name[256])
{
	int r;

	if (s->result != 0)
		return s->result;
	if (n == 0 || BIO_write(s->in, data, (int)n) != (int)n)
		return 0;
	/* The thread's list of errors is empty here: it is emptied after each failure, below. */
	r = SSL_do_handshake(s->ssl);
	if (s->result == 0 && r <= 0 && SSL_get_error(s->ssl, r) == SSL_ERROR_WANT_READ)
		return 0;
	if (s->result == 0)
		s->result = -EPROTO;
	ERR_clear_error();
	if (s->result == 1)
		snprintf(name, 256, "%s", s->name);
	return s->result;
}
