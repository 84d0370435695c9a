/* MSG_FASTOPEN: sendto(2) connects, with data in the SYN if it may. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    checked(sendto(fd, MESSAGE, strlen(MESSAGE), MSG_FASTOPEN, sa(&target), target.len), "sendto");
    return 0;
}
