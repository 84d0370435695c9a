// A disk that misbehaves, for one directory of one process: loaded with LD_PRELOAD. $DISK_DIR is the directory; in $DISK_FAULTS a file
// `read-only` makes writes there fail as on a read-only file system, and one `slow` makes syncs take as many seconds as it says.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int concerns(int fd) {
    const char *dir = getenv("DISK_DIR");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!dir || length < 0) return 0;
    path[length] = 0;
    return strncmp(path, dir, strlen(dir)) == 0;
}

static FILE *fault(const char *name) {
    char path[4096];
    const char *dir = getenv("DISK_FAULTS");
    snprintf(path, sizeof path, "%s/%s", dir ? dir : "", name);
    return fopen(path, "r");
}

static int is_read_only(int fd) {
    if (!concerns(fd)) return 0;
    FILE *file = fault("read-only");
    if (!file) return 0;
    fclose(file);
    errno = EROFS;
    return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (is_read_only(fd)) return -1;
    ssize_t (*next)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    return next(fd, bytes, count, offset);
}

int fdatasync(int fd) {
    if (is_read_only(fd)) return -1;
    FILE *file = concerns(fd) ? fault("slow") : NULL;
    if (file) {
        int seconds = 0;
        if (fscanf(file, "%d", &seconds) == 1) sleep(seconds);
        fclose(file);
    }
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return next(fd);
}
