/* A datagram to a named destination. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    say_to(new_socket(target.family, SOCK_DGRAM, 0), &target);
    return 0;
}
