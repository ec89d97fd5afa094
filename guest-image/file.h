/* `berth-init file VERB PATH [ARG]`: one file operation with the rights of the user it runs as
 * (docs/internals.md). */
#ifndef BERTH_INIT_FILE_H
#define BERTH_INIT_FILE_H

enum file_status {
	FILE_DONE = 0,
	FILE_FAILED = 1,
	FILE_NOT_FOUND = 2,
	FILE_NOT_PERMITTED = 3,
	FILE_IS_FOLDER = 4,
	FILE_NO_FOLDER = 5,
	FILE_NO_SPACE = 6,
	FILE_EXISTS = 7,
};

/* argv: VERB PATH [ARG]. The exit status; what went wrong is one line on stderr. */
int file_main(int argc, char **argv);

#endif
