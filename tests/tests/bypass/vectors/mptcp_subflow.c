/* Multipath TCP to a friend (third and fourth argument) that announces the target as another address of its own: the kernel
 * connects there by itself. */
#include "vector.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int main(int argc, char **argv) {
    if (argc < 5) { errno = EINVAL; failed("usage: <address> <port> <friend> <port>"); }
    struct target friend = address_of(argv[3], argv[4]);
    drop_privileges();
    int fd = new_socket(friend.family, SOCK_STREAM, IPPROTO_MPTCP);
    connect_and_say(fd, &friend);
    /* The friend announces the target once it has heard something; it closes in the end, or time runs out. */
    char byte;
    while (recv(fd, &byte, 1, 0) > 0) {}
    return 0;
}
