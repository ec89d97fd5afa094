/* A stand-in for qemu-img create: the file says what it stands on; what its guest writes comes
 * after (fake_machine.h). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *on = "-", *path = argc > 2 ? argv[argc - 2] : "";
	char text[120];
	int fd, n;

	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "-b") == 0)
			on = argv[i + 1];
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	n = snprintf(text, sizeof(text), "on %s\n", on);
	for (int done = 0; fd >= 0 && done < n;) {
		ssize_t part = write(fd, text + done, (size_t)(n - done));

		if (part < 0)
			fd = -1;
		done += (int)part;
	}
	if (fd < 0)
		perror(path);
	return fd < 0;
}
