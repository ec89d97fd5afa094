/* The guest's one network interface and its loopback, set up with ioctls. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "guest.h"
#include "util.h"

#define NET_PASSING_ADDR "10.0.2.14" /* nobody's; there for an instant */

static struct sockaddr ipv4(in_addr_t addr)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = addr};
	struct sockaddr sa;

	memcpy(&sa, &in, sizeof(sa));
	return sa;
}

static struct ifreq request(const char *device)
{
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	return ifr;
}

static int up(int sock, const char *device, struct err *err)
{
	struct ifreq ifr = request(device);

	if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
		return err_sys(err, "there is no network device %s", device);
	ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
		return err_sys(err, "cannot set %s up", device);
	return 0;
}

static int address(int sock, struct err *err)
{
	struct ifreq ifr = request(NET_DEVICE);

	ifr.ifr_addr = ipv4(inet_addr(GUEST_ADDR));
	if (ioctl(sock, SIOCSIFADDR, &ifr) < 0)
		return err_sys(err, "cannot give %s its address", NET_DEVICE);
	ifr.ifr_netmask = ipv4(htonl(~0u << (32 - GUEST_PREFIX)));
	if (ioctl(sock, SIOCSIFNETMASK, &ifr) < 0)
		return err_sys(err, "cannot give %s its netmask", NET_DEVICE);
	return 0;
}

static int neighbour(int sock, struct err *err)
{
	struct arpreq arp = {
		.arp_pa = ipv4(inet_addr(GUEST_HOST_ADDR)), .arp_flags = ATF_COM | ATF_PERM};
	struct ether_addr mac;

	if (!ether_aton_r(GUEST_HOST_MAC, &mac))
		return err_set(err, EINVAL, "%s is no MAC address", GUEST_HOST_MAC);
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(arp.arp_ha.sa_data, mac.ether_addr_octet, ETH_ALEN);
	snprintf(arp.arp_dev, sizeof(arp.arp_dev), "%s", NET_DEVICE);
	if (ioctl(sock, SIOCSARP, &arp) < 0)
		return err_sys(err, "cannot name the host as a neighbour");
	return 0;
}

static int route(int sock, struct err *err)
{
	struct rtentry rt = {.rt_dst = ipv4(INADDR_ANY),
		.rt_genmask = ipv4(INADDR_ANY),
		.rt_gateway = ipv4(inet_addr(GUEST_HOST_ADDR)),
		.rt_flags = RTF_UP | RTF_GATEWAY};

	if (ioctl(sock, SIOCADDRT, &rt) < 0 && errno != EEXIST)
		return err_sys(err, "cannot set the default route");
	return 0;
}

int net_setup(struct err *err)
{
	AUTOFD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return err_sys(err, "cannot open a socket");
	if (up(sock, "lo", err) < 0 || address(sock, err) < 0 || up(sock, NET_DEVICE, err) < 0 ||
		neighbour(sock, err) < 0)
		return err->code;
	return route(sock, err);
}

int net_changed(struct err *err)
{
	AUTOFD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = request(NET_DEVICE ":w");

	ifr.ifr_addr = ipv4(inet_addr(NET_PASSING_ADDR));
	if (sock < 0 || ioctl(sock, SIOCSIFADDR, &ifr) < 0)
		return err_sys(err, "cannot add an address to %s", NET_DEVICE);
	ifr = request(NET_DEVICE ":w"); /* an alias that is set down is gone */
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
		return err_sys(err, "cannot remove the address %s", NET_PASSING_ADDR);
	return 0;
}
