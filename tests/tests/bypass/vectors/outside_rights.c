/* outside: a TCP socket made by a process elsewhere, passed to one in the scope over a unix socket. */
#include "vector.h"

static void pass(int channel, int fd) {
    char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    checked(sendmsg(channel, &message, 0), "pass");
}

static int take(int channel) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    checked(recvmsg(channel, &message, 0), "take");
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    int channel[2];
    checked(socketpair(AF_UNIX, SOCK_STREAM, 0, channel), "socketpair");
    pid_t donor = checked(fork(), "fork");
    if (donor == 0) {
        pass(channel[1], new_socket(target.family, SOCK_STREAM, 0));
        _exit(0);
    }
    join_scope();
    drop_privileges();
    connect_and_say(take(channel[0]), &target);
    return 0;
}
