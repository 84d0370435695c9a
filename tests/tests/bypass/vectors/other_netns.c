/* The socket is made in the network namespace that has the route; then its owner leaves for one without any. */
#include "vector.h"

#include <sched.h>

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    checked(unshare(CLONE_NEWUSER | CLONE_NEWNET), "unshare");
    connect_and_say(fd, &target);
    return 0;
}
