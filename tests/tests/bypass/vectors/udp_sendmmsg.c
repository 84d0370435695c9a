/* Several datagrams at once. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    struct iovec data = {.iov_base = MESSAGE, .iov_len = strlen(MESSAGE)};
    struct msghdr message = {.msg_name = &target.addr, .msg_namelen = target.len, .msg_iov = &data, .msg_iovlen = 1};
    struct mmsghdr messages[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
    checked(sendmmsg(new_socket(target.family, SOCK_DGRAM, 0), messages, 2, 0), "sendmmsg");
    return 0;
}
