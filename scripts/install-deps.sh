#!/bin/bash
# Installs the Debian packages that berth needs; the one list of them. Debian 12 and 13.
#
# usage: scripts/install-deps.sh [--list] [run] [build] [test]
#   run    to run agents, and to build their image
#   build  to build berth
#   test   for ./check
#   --list prints the packages of the groups named and installs nothing
# Without a group: run and build. As root, or with sudo. What is there already costs no time.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

readonly QEMU_LEAST=8.2
readonly BACKPORTS=/etc/apt/sources.list.d/berth-backports.list

# A word with | in it: any one of these will do, the last is what gets installed.
readonly RUN='qemu-system-x86 qemu-utils nftables iproute2 uidmap util-linux ca-certificates
	mmdebstrap erofs-utils lz4 cpio xz-utils python3 dpkg debian-archive-keyring publicsuffix'
readonly BUILD='gcc libc6-dev meson ninja-build pkg-config|pkgconf libuv1-dev libwebsockets-dev libwebsockets-evlib-uv
	libcjson-dev libsqlite3-dev libnftables-dev libldns-dev libssl-dev libsodium-dev libcurl4-openssl-dev
	libarchive-dev libinih-dev libcap-dev libseccomp-dev libzstd-dev libpsl-dev
	libpng-dev libturbojpeg0-dev libwebp-dev'
readonly TEST='libcmocka-dev clang llvm libclang-rt-dev clang-format cppcheck shellcheck chromium openssl
	bind9-dnsutils curl procps man-db bash-completion git command:node|nodejs command:npm|npm'

say() {
	printf '%s\n' "$*"
}

fail() {
	printf 'install-deps: %s\n' "$*" >&2
	exit 1
}

usage() {
	sed -n '2,9s/^# \{0,1\}//p' "$0"
}

installed() {
	[[ " $have " == *" $1 "* ]]
}

# present WORD: one of its alternatives is there.
present() {
	local one

	for one in ${1//|/ }; do
		if [[ $one == command:* ]]; then
			command -v "${one#command:}" >/dev/null && return
		else
			installed "$one" && return
		fi
	done
	return 1
}

qemu_version() {
	dpkg-query -W -f '${Version}' qemu-system-x86 2>/dev/null | sed 's/^[0-9]*://'
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo --preserve-env=DEBIAN_FRONTEND "$@"
	fi
}

apt() {
	as_root apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# Debian 12's own QEMU is 7.2; 8.2 and newer come from its backports.
add_backports() {
	if grep -rqsE '^[^#]*bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d; then
		return
	fi
	say "Adding bookworm-backports ($BACKPORTS), for QEMU $QEMU_LEAST or newer"
	echo 'deb http://deb.debian.org/debian bookworm-backports main' | as_root tee "$BACKPORTS" >/dev/null
}

groups='' list=no
for arg in "$@"; do
	case $arg in
	run | build | test) groups+=" $arg" ;;
	--list) list=yes ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
[ -n "$groups" ] || groups=' run build'

wanted=''
case $groups in *run*) wanted+=" $RUN" ;; esac
case $groups in *build*) wanted+=" $BUILD" ;; esac
case $groups in *test*) wanted+=" $TEST" ;; esac
read -r -d '' -a words <<<"$wanted" || :
if [ $list = yes ]; then
	printf '%s\n' "${words[@]##*|}" | sort -u
	exit 0
fi

command -v dpkg-query >/dev/null || fail "this is no Debian; the packages are: ${words[*]##*|}"
have=$(dpkg-query -W -f '${db:Status-Abbrev}${binary:Package}\n' | sed -n 's/^ii *//p' | sed 's/:.*//' | tr '\n' ' ')
missing=() qemu=()
for word in "${words[@]}"; do
	present "$word" || missing+=("${word##*|}")
done
if [[ $groups == *run* ]] && ! dpkg --compare-versions "$(qemu_version)" ge "$QEMU_LEAST"; then
	qemu=(qemu-system-x86 qemu-utils)
fi
if [ ${#missing[@]} -eq 0 ] && [ ${#qemu[@]} -eq 0 ]; then
	say "All packages are there."
	exit 0
fi

# shellcheck source=/dev/null
. /etc/os-release
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
	fail "as root: apt-get install ${missing[*]} ${qemu[*]}"
[ "${ID-}" = debian ] || say "This is ${PRETTY_NAME-not Debian}, not Debian 12 or 13: trying all the same."
[ "${VERSION_ID-}" != 12 ] || [ ${#qemu[@]} -eq 0 ] || add_backports

say "Installing ${#missing[@]} packages: ${missing[*]} ${qemu[*]}"
apt update
if [ ${#qemu[@]} -gt 0 ]; then
	target=()
	[ "${VERSION_ID-}" != 12 ] || target=(-t bookworm-backports)
	apt install --no-install-recommends "${target[@]}" "${qemu[@]}"
fi
[ ${#missing[@]} -eq 0 ] || apt install --no-install-recommends "${missing[@]}"
dpkg --compare-versions "$(qemu_version)" ge "$QEMU_LEAST" || [[ $groups != *run* ]] ||
	fail "QEMU $QEMU_LEAST or newer is needed and this release of Debian has only $(qemu_version)"
say "All packages are there."
