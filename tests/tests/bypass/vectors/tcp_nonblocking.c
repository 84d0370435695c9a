/* A non-blocking connect(2) that is waited for with poll(2). */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connect(fd, sa(&target), target.len) < 0 && errno != EINPROGRESS) failed("connect");
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    if (checked(poll(&waiting, 1, 3000), "poll") == 0) { errno = ETIMEDOUT; failed("poll"); }
    socklen_t len = sizeof errno;
    int error = 0;
    checked(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), "getsockopt");
    if (error != 0) { errno = error; failed("connect"); }
    say(fd);
    return 0;
}
