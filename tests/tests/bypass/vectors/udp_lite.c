/* UDP-Lite (RFC 3828). */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    connect_and_say(new_socket(target.family, SOCK_DGRAM, IPPROTO_UDPLITE), &target);
    return 0;
}
