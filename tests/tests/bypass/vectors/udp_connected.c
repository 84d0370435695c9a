/* A datagram over a connected socket: QUIC's way. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    connect_and_say(new_socket(target.family, SOCK_DGRAM, 0), &target);
    return 0;
}
