/* A disk that is full for a while: LD_PRELOAD this, and some of the calls that change anything below $FULL_FOLDER fail
 * with ENOSPC. All processes count together, in the file $FULL_COUNTER: three ints, which are the calls so far, the
 * first one to fail (from 1; 0: none) and the first one after it that succeeds again. What failed is added to
 * $FULL_COUNTER.log. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int *counter(void) {
    static int *shared;
    const char *path = getenv("FULL_COUNTER");
    if (shared || !path) return shared;
    int file = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (file < 0) return NULL;
    void *at = mmap(NULL, 3 * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    return at == MAP_FAILED ? NULL : (shared = at);
}

static void note(const char *what, const char *path, int number) {
    char name[PATH_MAX], text[PATH_MAX + 64];
    snprintf(name, sizeof name, "%s.log", getenv("FULL_COUNTER"));
    int file = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int length = snprintf(text, sizeof text, "%d %s %s\n", number, what, path);
    if (file >= 0) {
        syscall(SYS_write, file, text, length);
        syscall(SYS_close, file);
    }
}

/* Whether this call, on this path, fails. */
static int fails(const char *what, const char *path) {
    const char *folder = getenv("FULL_FOLDER");
    if (!folder || strncmp(path, folder, strlen(folder)) != 0) return 0;
    int saved = errno, *shared = counter();
    errno = saved;
    if (!shared) return 0;
    int number = __sync_add_and_fetch(&shared[0], 1);
    if (!shared[1] || number < shared[1] || number >= shared[2]) return 0;
    note(what, path, number);
    errno = ENOSPC;
    return 1;
}

static int fails_at(const char *what, int folder, const char *path) {
    char place[64], whole[2 * PATH_MAX], base[PATH_MAX];
    if (!getenv("FULL_FOLDER")) return 0;
    if (path[0] == '/') return fails(what, path);
    int saved = errno;
    ssize_t length;
    if (folder == AT_FDCWD) {
        length = readlink("/proc/self/cwd", base, sizeof base - 1);
    } else {
        snprintf(place, sizeof place, "/proc/self/fd/%d", folder);
        length = readlink(place, base, sizeof base - 1);
    }
    errno = saved;
    if (length < 0) return 0;
    base[length] = 0;
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return fails(what, whole);
}

static int fails_on(const char *what, int file) {
    char place[64], path[PATH_MAX];
    if (!getenv("FULL_FOLDER")) return 0;
    int saved = errno;
    snprintf(place, sizeof place, "/proc/self/fd/%d", file);
    ssize_t length = readlink(place, path, sizeof path - 1);
    errno = saved;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(what, path);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        struct stat there; \
        if ((flags & O_CREAT) && stat(path, &there) != 0 && fails_at("create", AT_FDCWD, path)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        struct stat there; \
        if ((flags & O_CREAT) && fstatat(folder, path, &there, 0) != 0 && fails_at("create", folder, path)) return -1; \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    return fails_on("write", file) ? -1 : real(file, data, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    return fails_on("write", file) ? -1 : real(file, parts, count);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t where) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return fails_on("write", file) ? -1 : real(file, data, size, where);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t where) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    return fails_on("write", file) ? -1 : real(file, data, size, where);
}

int fsync(int file) {
    REAL(int, fsync, int);
    return fails_on("sync", file) ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(int, fdatasync, int);
    return fails_on("sync", file) ? -1 : real(file);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    struct stat there;
    return stat(path, &there) != 0 && fails_at("mkdir", AT_FDCWD, path) ? -1 : real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    return fails_at("rename", AT_FDCWD, to) ? -1 : real(from, to);
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *);
    return fails_at("link", AT_FDCWD, to) ? -1 : real(from, to);
}
