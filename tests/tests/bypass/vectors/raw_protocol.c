/* A raw socket that speaks a protocol of its own (253, for experiments: RFC 3692). */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_RAW, 253);
    if (target.family == AF_INET6) ((struct sockaddr_in6 *)&target.addr)->sin6_port = 0;
    say_to(fd, &target);
    return 0;
}
