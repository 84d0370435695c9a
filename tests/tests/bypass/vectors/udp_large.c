/* A datagram larger than a packet: the kernel makes fragments of it. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_DGRAM, 0);
    static char data[20000] = MESSAGE;
    checked(connect(fd, sa(&target), target.len), "connect");
    checked(send(fd, data, sizeof data, 0), "send");
    return 0;
}
