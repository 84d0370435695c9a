/* TCP_REPAIR: a connection that is declared established, without a handshake. Needs CAP_NET_ADMIN. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    int on = 1, off = 0;
    checked(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on), "TCP_REPAIR");
    checked(connect(fd, sa(&target), target.len), "connect");
    checked(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof off), "TCP_REPAIR off");
    say(fd);
    return 0;
}
