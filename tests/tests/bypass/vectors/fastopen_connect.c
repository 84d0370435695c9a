/* TCP_FASTOPEN_CONNECT, without waiting for a cookie: the first send(2) connects, with data in the SYN. */
#include "vector.h"

#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    int on = 1;
    checked(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on), "TCP_FASTOPEN_CONNECT");
    checked(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof on), "TCP_FASTOPEN_NO_COOKIE");
    connect_and_say(fd, &target);
    return 0;
}
