/* A thread connects. */
#include "vector.h"

#include <pthread.h>

static void *run(void *target) {
    struct target *to = target;
    connect_and_say(new_socket(to->family, SOCK_STREAM, 0), to);
    return NULL;
}

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    pthread_t thread;
    errno = pthread_create(&thread, NULL, run, &target);
    if (errno != 0) failed("pthread_create");
    pthread_join(thread, NULL);
    return 0;
}
