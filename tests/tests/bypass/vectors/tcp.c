/* connect(2) over TCP, of whatever family the address is. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    connect_and_say(new_socket(target.family, SOCK_STREAM, 0), &target);
    return 0;
}
