/* A datagram to an IPv4 destination from an IPv6 socket. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    say_to(new_socket(AF_INET6, SOCK_DGRAM, 0), &target);
    return 0;
}
