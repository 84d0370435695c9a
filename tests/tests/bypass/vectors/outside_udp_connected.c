/* outside: a datagram socket made before its owner joined the scope, connected in it. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    int fd = new_socket(target.family, SOCK_DGRAM, 0);
    join_scope();
    drop_privileges();
    connect_and_say(fd, &target);
    return 0;
}
