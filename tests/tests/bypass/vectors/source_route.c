/* IPv4 loose source routing: the connection's end is somebody else, the packets go to the target first. */
#include "vector.h"

#include <netinet/ip.h>

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    if (target.family != AF_INET) { errno = EAFNOSUPPORT; failed("source route"); }
    int fd = new_socket(AF_INET, SOCK_DGRAM, 0);
    struct in_addr hop = ((struct sockaddr_in *)&target.addr)->sin_addr;
    unsigned char options[8] = {IPOPT_LSRR, 7, 4};
    memcpy(options + 3, &hop, sizeof hop);
    checked(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, options, sizeof options), "IP_OPTIONS");
    struct target end = address_of("192.0.2.99", argv[2]);
    say_to(fd, &end);
    return 0;
}
