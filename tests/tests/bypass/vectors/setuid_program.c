/* A user starts a set-user-id program that connects as root. Its path is the third argument. */
#include "vector.h"

int main(int argc, char **argv) {
    if (argc < 4) { errno = EINVAL; failed("usage: <address> <port> <program>"); }
    int program = checked(open(argv[3], O_PATH), argv[3]);
    drop_privileges();
    unsetenv("VECTOR_UID");
    char *arguments[] = {"tcp", argv[1], argv[2], NULL};
    extern char **environ;
    checked(execveat(program, "", arguments, environ, AT_EMPTY_PATH), "execveat");
}
