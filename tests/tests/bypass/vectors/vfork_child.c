/* A vfork(2) child connects, in its parent's memory. */
#include "vector.h"

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_STREAM, 0);
    pid_t child = vfork();
    if (child == 0) {
        int connected = connect(fd, sa(&target), target.len);
        _exit(connected < 0 ? errno : 0);
    }
    checked(child, "vfork");
    int status;
    checked(waitpid(child, &status, 0), "waitpid");
    errno = WEXITSTATUS(status);
    if (errno != 0) failed("connect in the child");
    say(fd);
    return 0;
}
