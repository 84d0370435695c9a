/* SCTP; with "one-to-many" on a socket that never connects. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    if (argc > 3) {
        say_to(new_socket(target.family, SOCK_SEQPACKET, IPPROTO_SCTP), &target);
        return 0;
    }
    int fd = new_socket(target.family, SOCK_STREAM, IPPROTO_SCTP);
    /* Its connect goes on in vain for as long as it is let. */
    struct timeval patience = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    connect_and_say(fd, &target);
    return 0;
}
