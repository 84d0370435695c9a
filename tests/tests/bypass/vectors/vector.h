/* What the vectors share. Each is given <address> <port> and tries to get MESSAGE there. It need not know whether it got
 * there: the target logs what arrives. It exits 0 if every call succeeded, else with the errno of the call that failed.
 *
 * VECTOR_UID    become this user before anything else that counts
 * VECTOR_JOIN   a cgroup.procs file: only `outside` vectors use it, to move into the scope after making their socket */
#ifndef VECTOR_H
#define VECTOR_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE "weir-bypass"

struct target {
    struct sockaddr_storage addr;
    socklen_t len;
    int family;
    uint16_t port; /* host byte order */
};

static void failed(const char *what) {
    int error = errno;
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(error ? error : 1);
}

static inline int checked(int result, const char *what) {
    if (result < 0) failed(what);
    return result;
}

static inline struct target address_of(const char *ip, const char *port) {
    struct target target = {.port = (uint16_t)atoi(port)};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&target.addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&target.addr;
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = target.family = AF_INET;
        v4->sin_port = htons(target.port);
        target.len = sizeof *v4;
    } else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = target.family = AF_INET6;
        v6->sin6_port = htons(target.port);
        target.len = sizeof *v6;
    } else {
        fprintf(stderr, "%s is no address\n", ip);
        exit(EINVAL);
    }
    return target;
}

static inline struct sockaddr *sa(struct target *target) { return (struct sockaddr *)&target->addr; }

/* From here on as the user that the vector is tried as. */
static inline void drop_privileges(void) {
    const char *uid = getenv("VECTOR_UID");
    if (uid == NULL || atoi(uid) == 0) return;
    checked(setgroups(0, NULL), "setgroups");
    checked(setresgid(atoi(uid), atoi(uid), atoi(uid)), "setresgid");
    checked(setresuid(atoi(uid), atoi(uid), atoi(uid)), "setresuid");
}

/* Moves into the scope. */
static inline void join_scope(void) {
    const char *procs = getenv("VECTOR_JOIN");
    if (procs == NULL) { errno = EINVAL; failed("VECTOR_JOIN"); }
    int fd = checked(open(procs, O_WRONLY), procs);
    checked(write(fd, "0", 1), "join");
    close(fd);
}

static inline struct target start(int argc, char **argv) {
    if (argc < 3) { errno = EINVAL; failed("usage: <address> <port>"); }
    return address_of(argv[1], argv[2]);
}

/* Nothing here waits for ever. */
static inline int patient(int fd) {
    struct timeval patience = {.tv_sec = 3};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static inline int new_socket(int family, int type, int protocol) {
    return patient(checked(socket(family, type, protocol), "socket"));
}

static inline void say(int fd) { checked(send(fd, MESSAGE, strlen(MESSAGE), MSG_NOSIGNAL), "send"); }

static inline void connect_and_say(int fd, struct target *target) {
    checked(connect(fd, sa(target), target->len), "connect");
    say(fd);
}

static inline void say_to(int fd, struct target *target) {
    checked(sendto(fd, MESSAGE, strlen(MESSAGE), MSG_NOSIGNAL, sa(target), target->len), "sendto");
}
#endif
