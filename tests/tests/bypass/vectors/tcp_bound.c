/* A TCP socket whose source address was chosen with bind(2). */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    struct target any = address_of(target.family == AF_INET ? "0.0.0.0" : "::", "0");
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    checked(bind(fd, sa(&any), any.len), "bind");
    connect_and_say(fd, &target);
    return 0;
}
