/* resolv.conf: which servers are taken from it. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "resolv_conf.h"

static void servers(void **state)
{
	struct sockaddr_storage s[RESOLV_SERVERS_MAX];
	struct sockaddr_in *four = (struct sockaddr_in *)&s[0];
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&s[1];

	assert_int_equal(resolv_conf_parse(
				 "# x\nsearch a.b\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 \n"
				 "nameserver rubbish\nnameservers 1.1.1.1\noptions "
				 "ndots:5\nnameserver 9.9.9.9\n"
				 "nameserver 8.8.8.8\n",
				 s),
		3);
	assert_int_equal(four->sin_addr.s_addr, inet_addr("192.0.2.1"));
	assert_int_equal(ntohs(four->sin_port), 53);
	assert_int_equal(six->sin6_family, AF_INET6);
	assert_int_equal(((struct sockaddr_in *)&s[2])->sin_addr.s_addr, inet_addr("9.9.9.9"));
}

static void rubbish(void **state)
{
	struct sockaddr_storage s[RESOLV_SERVERS_MAX];

	assert_int_equal(resolv_conf_parse("", s), 0);
	assert_int_equal(resolv_conf_parse("nameserver", s), 0);
	assert_int_equal(resolv_conf_parse("nameserver ", s), 0);
	assert_int_equal(resolv_conf_parse("nameserver  \n1.1.1.1\n", s), 0);
	assert_int_equal(resolv_conf_parse("nameserver 1.1.1.1", s), 1);
	assert_int_equal(resolv_conf_parse("nameserver 1.1.1.1\r\n", s), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(servers), cmocka_unit_test(rubbish)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
