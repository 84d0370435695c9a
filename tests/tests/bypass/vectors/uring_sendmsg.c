/* A datagram sent by io_uring on a worker thread. */
#include "vector.h"

#include <linux/io_uring.h>
#include <sys/mman.h>

static void *map(int ring, size_t len, off_t what) {
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
    if (at == MAP_FAILED) failed("mmap");
    return at;
}

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    struct io_uring_params params = {0};
    int ring = checked((int)syscall(SYS_io_uring_setup, 4, &params), "io_uring_setup");
    char *sq = map(ring, params.sq_off.array + params.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
    char *cq = map(ring, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    struct io_uring_sqe *sqes = map(ring, params.sq_entries * sizeof *sqes, IORING_OFF_SQES);

    struct iovec data = {.iov_base = MESSAGE, .iov_len = strlen(MESSAGE)};
    struct msghdr message = {.msg_name = &target.addr, .msg_namelen = target.len, .msg_iov = &data, .msg_iovlen = 1};
    sqes[0] = (struct io_uring_sqe){
        .opcode = IORING_OP_SENDMSG,
        .flags = IOSQE_ASYNC,
        .fd = new_socket(target.family, SOCK_DGRAM, 0),
        .addr = (uintptr_t)&message,
        .len = 1,
    };
    *(uint32_t *)(sq + params.sq_off.array) = 0;
    __atomic_store_n((uint32_t *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
    checked((int)syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
    struct io_uring_cqe *done = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
    if (done->res < 0) { errno = -done->res; failed("sendmsg"); }
    return 0;
}
