/* Multipath TCP. */
#include "vector.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    connect_and_say(new_socket(target.family, SOCK_STREAM, IPPROTO_MPTCP), &target);
    return 0;
}
