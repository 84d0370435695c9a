/* A TCP socket that was connected elsewhere (to itself, which nobody minds) and disconnected before. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int listener = new_socket(target.family, SOCK_STREAM, 0);
    struct target here = address_of(target.family == AF_INET ? "127.0.0.1" : "::1", "0");
    checked(bind(listener, sa(&here), here.len), "bind");
    checked(listen(listener, 1), "listen");
    checked(getsockname(listener, sa(&here), &here.len), "getsockname");
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    checked(connect(fd, sa(&here), here.len), "connect to itself");
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    checked(connect(fd, &none, sizeof none), "disconnect");
    connect_and_say(fd, &target);
    return 0;
}
