/* A datagram to a destination whose family is left unsaid, which IPv4 takes for IPv4. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_DGRAM, 0);
    sa(&target)->sa_family = AF_UNSPEC;
    say_to(fd, &target);
    return 0;
}
