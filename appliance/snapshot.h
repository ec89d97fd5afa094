/* Snapshots as folders of files: written whole or not at all, read back with suspicion, linked. */
#ifndef BERTH_SNAPSHOT_H
#define BERTH_SNAPSHOT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/*
 * A folder with
 *
 *   manifest.json   what follows, and the digest of each file
 *   d_….qcow2       the layers of the disk, each standing on the one before (disk.h)
 *   m_…             what the memory stands on: a file as large as the guest's RAM
 *   pages           the pages that differ from it (pages.h); none in a template
 *   device          the state of the devices
 *
 * Layers and memory files are hard links: everybody who stands on a file has a name for it in a
 * folder of its own, and what nobody names is gone. A sleeping agent's memory is such a folder too
 * (agents/ID/sleep.DISK), without layers and memory file, which are the agent's own.
 *
 * The manifest's members: format (2), sum (the digest of all others), id, kind ("snapshot",
 * "template", "sleep"), agent (id), agent_name, tag, passing (true: it goes when the daemon starts
 * anew), parent (id or ""), created_ms, image, memory_mib, cpus, disk_gib, policy (policy.h),
 * layers
 * ([{name, digest}], the lowest first), and with memory: memory {base, base_digest, pages (bool),
 * pages_digest, device_digest, machine, bytes, page_count}.
 */
#define SNAPSHOT_FORMAT 2 /* 1, which has no sum, is read */
#define SNAPSHOT_ID_PREFIX "sn_"
#define SNAPSHOT_LAYERS_MAX 64
#define SNAPSHOT_TAG_MAX 80 /* with the zero at the end */
#define SNAPSHOT_ZERO_BASE "m_zero"

/* A folder's manifest, its shape checked; the caller's to delete. NULL and err: -ENOENT when there
 * is none, 409 snapshot-damaged. */
cJSON *snapshot_read(const char *folder, struct err *err);
/* Writes the manifest into part, syncs, and renames part to folder. What was there must be gone.
 * When it fails, folder is not there. */
int snapshot_publish(const char *part, const char *folder, const cJSON *manifest, struct err *err);
/* Replaces the manifest of a folder that is there, whole or not at all. */
int snapshot_rewrite(const char *folder, const cJSON *manifest, struct err *err);
/* Gives `to` names for the layers and the memory file of the manifest that are in `from`. */
int snapshot_link_base(const char *from, const char *to, const cJSON *manifest, struct err *err);
/* The same for pages and device. */
int snapshot_link_memory(const char *from, const char *to, const cJSON *manifest, struct err *err);
/* Links one file; one that is there already is fine if it is the same. */
int snapshot_link(const char *from, const char *to, const char *name, struct err *err);
/* Makes a folder empty and private. */
int snapshot_make_part(const char *part, struct err *err);
/* Removes a folder in two steps, so that half of it is never taken for one. */
int snapshot_remove(const char *folder, struct err *err);
/* Removes what in a folder of such folders is half made or half removed: its name begins with a
 * dot. */
void snapshot_sweep(const char *folder);
/* Bytes on the disk that only this folder names: what its removal would free. */
uint64_t snapshot_own_bytes(const char *folder);
/* fsync of a folder. */
int snapshot_sync_folder(const char *folder, struct err *err);
bool snapshot_id_valid(const char *id);
/* "m_" and letters and digits. */
bool snapshot_base_valid(const char *name);

#endif
