/* The public suffix list (libpsl): below which names anybody can register one. */
#ifndef BERTH_SUFFIX_H
#define BERTH_SUFFIX_H

#include <stdbool.h>

/* name is normal (base/rules.h). Names below it belong to different owners: com, co.uk, github.io.
 */
bool suffix_is_public(const char *name);
/* The part of name that one owner has registered (example.co.uk of a.b.example.co.uk), or NULL when
 * name is a public suffix. Points into name. */
const char *suffix_registered(const char *name);

#endif
