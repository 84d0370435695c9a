/* outside: a TCP socket that was made before its owner joined the scope. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    join_scope();
    drop_privileges();
    connect_and_say(fd, &target);
    return 0;
}
